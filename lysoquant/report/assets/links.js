// From charts, pictures and tables to the plate.
const openKey = (key, from) => {
  const index = INDEX.get(key);
  if (index !== undefined && maps.elements[index]) openWell(index, { from });
};
const openWells = (keys, from) => {
  const indices = keys.map((key) => INDEX.get(key)).filter((index) => index !== undefined);
  if (!indices.length) return;
  byId("condition").value = "";
  byId("find").value = "";
  highlight(indices);
  openWell(indices[0], { from });
};
const follow = (element) => {
  if (element.dataset.wells) openWells(element.dataset.wells.split(" "), element);
  else openKey(element.dataset.key, element);
};

const startLinks = () => {
  document.addEventListener("click", (event) => {
    const element = event.target.closest("[data-key], [data-wells]");
    if (element && (!element.closest(".explorer") || element.closest(".screened"))) follow(element);
  });
  all("svg.chart").forEach((chart) => {
    const dots = all("[data-key], [data-wells]", chart).sort((a, b) => Number(a.getAttribute("cx")) - Number(b.getAttribute("cx")));
    dots.forEach((dot) => {
      dot.setAttribute("role", "button");
      dot.setAttribute("aria-label", dot.textContent);
    });
    rove(dots, dots[0]);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const to = step && dots[dots.indexOf(event.target) + step];
      if (to) {
        event.preventDefault();
        moveTo(dots, to);
      } else if ((event.key === "Enter" || event.key === " ") && dots.includes(event.target)) {
        event.preventDefault();
        follow(event.target);
      }
    });
  });
  const columnOf = (selector, name) => all(`${selector} thead th`).findIndex((heading) => heading.title === name);
  const [named, listed] = ["condition", "wells"].map((name) => columnOf("#table-hits", name));
  all("#table-hits tbody tr").forEach((row) => {
    const wells = listed < 0 ? "" : row.cells[listed].dataset.value;
    const cell = row.cells[named];
    if (wells && cell) cell.replaceChildren(make("button", { type: "button", class: "link", dataset: { wells } }, cell.textContent || wells));
  });
  const [well, plate] = ["well", "plate"].map((name) => columnOf("#table-wells", name));
  all("#table-wells tbody tr").forEach((row) => {
    const cell = row.cells[well];
    const name = plate < 0 ? DATA.plates[0].name : row.cells[plate].dataset.value;
    cell.replaceChildren(make("button", { type: "button", class: "link", dataset: { key: `${name}:${cell.dataset.value}` } }, cell.textContent));
  });
};

const startCopy = () => {
  const [button, told] = [byId("copy-methods"), byId("copied")];
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(byId("methods-text"));
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    // The older way works from a file on disk in every browser.
    told.textContent = document.execCommand("copy") ? "Copied." : "Selected; copy it with Ctrl+C.";
  });
};
