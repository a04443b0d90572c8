"use strict";
(() => {
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));

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

  all("table.sortable").forEach((table) => {
    all("thead th", table).forEach((heading, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sortBy(heading, index));
      heading.append(button);
    });
  });

  const plates = document.getElementById("plates");
  const show = (metric) => {
    all(".switch button").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.metric === metric)));
    all(".maps figure").forEach((figure) => { figure.hidden = metric !== "all" && figure.dataset.metric !== metric; });
    plates.classList.toggle("one", metric !== "all");
  };
  all(".switch").forEach((group) => {
    group.hidden = false;
    all("button", group).forEach((button) => button.addEventListener("click", () => show(button.dataset.metric)));
    show(document.querySelector(".wide") ? "occupancy" : "all");
  });

  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const place = (well) => {
    const rect = well.querySelector("rect");
    return [Number(rect.getAttribute("y")), Number(rect.getAttribute("x"))];
  };
  const next = (wells, from, [down, right]) => {
    const [y, x] = place(from);
    const ahead = wells.filter((well) => {
      const [v, u] = place(well);
      return down ? u === x && (v - y) * down > 0 : v === y && (u - x) * right > 0;
    });
    const distance = (well) => Math.abs(place(well)[0] - y) + Math.abs(place(well)[1] - x);
    return ahead.sort((a, b) => distance(a) - distance(b))[0];
  };
  all("svg.plate").forEach((map) => {
    const wells = all(".well", map);
    const readout = map.closest(".plate-maps").querySelector(".readout");
    const tell = (event) => {
      const well = event.target.closest(".well");
      if (well) readout.textContent = well.getAttribute("aria-label");
    };
    map.addEventListener("pointerover", tell);
    map.addEventListener("focusin", tell);
    // One stop of the Tab key a map; the arrow keys lead on from there.
    wells.forEach((well, index) => well.setAttribute("tabindex", index ? "-1" : "0"));
    map.addEventListener("keydown", (event) => {
      const from = event.target.closest(".well");
      const to = moves[event.key] && from && next(wells, from, moves[event.key]);
      if (!to) return;
      event.preventDefault();
      from.setAttribute("tabindex", "-1");
      to.setAttribute("tabindex", "0");
      to.focus();
    });
  });

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    closed.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));
})();
