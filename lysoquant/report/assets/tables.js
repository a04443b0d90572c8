const compare = (numeric) => (a, b) => {
  if (a === "" || b === "") return 0;
  return numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
};

const sortBy = (heading, index) => {
  const table = heading.closest("table");
  const numeric = heading.classList.contains("num");
  const now = heading.getAttribute("aria-sort");
  const descending = now ? now === "ascending" : numeric;
  all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.cells[index].dataset.value;
  const order = compare(numeric);
  const rows = all("tbody tr", table).sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    // What is undefined stays at the end, whichever way the rest is sorted.
    if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
    return descending ? order(y, x) : order(x, y);
  });
  table.tBodies[0].append(...rows);
};

const makeSortable = (table) => {
  all("thead th", table).forEach((heading, index) => {
    const button = make("button", { type: "button" }, ...heading.childNodes);
    button.addEventListener("click", () => sortBy(heading, index));
    heading.append(button);
  });
};
