// The panel of one well: its numbers, fields and cells.
const panel = byId("panel");
const choice = { channels: "both", outlines: true, cells: true, light: "1" };
let returnTo = null;

const closePanel = () => {
  if (maps.chosen === null) return;
  const index = maps.chosen;
  maps.chosen = null;
  panel.classList.remove("opened");
  panel.replaceChildren(make("p", { class: "hint" }, "No well is open. Click one, or press Enter on it."));
  mark();
  if (returnTo && returnTo.isConnected) returnTo.focus();
  else focusWell(index);
};

const tag = (text, kind) => (text ? make("span", { class: `tag ${kind || text}` }, text) : null);

const headOf = (index) => {
  const close = make("button", { type: "button", class: "close", "aria-label": "Close the well" }, "×");
  close.addEventListener("click", closePanel);
  const control = WELLS.control[index];
  const status = WELLS.status[index];
  return make("header", {},
    make("h3", { id: "panel-title" }, `${WELLS.well[index]} `, make("small", {}, DATA.plates[WELLS.plate[index]].name)),
    make("p", { class: "of" }, WELLS.condition[index] || "no condition", WELLS.replicate[index] ? `, replicate ${WELLS.replicate[index]} ` : " ",
      control ? tag(`${control} control`, control) : null, " ", status === "ok" ? null : tag(status)),
    WELLS.flags[index] || WELLS.reason[index]
      ? make("p", { class: "why" }, [WELLS.flags[index], WELLS.reason[index]].filter(Boolean).join(": ")) : null,
    close);
};

// What the screen says of a well: its condition's row of the hit list, or why it has none.
const verdictOf = (index) => {
  const hit = HIT_OF.get(index);
  if (hit) {
    const others = hit.wells.filter((other) => other !== index);
    const links = others.slice(0, 8).map((other) => make("button", { type: "button", class: "link", dataset: { key: keyOf(other) } }, DATA.plates.length > 1 ? keyOf(other) : WELLS.well[other]));
    return make("p", { class: "screened" }, hit.direction ? tag("hit", "hit") : null, " ", hit.said, make("small", {}, hit.reason),
      others.length ? make("small", {}, "With it: ", ...links.flatMap((link) => [link, " "]), others.length > links.length ? `and ${others.length - links.length} more` : "") : null);
  }
  return WELLS.excluded[index] ? make("p", { class: "screened" }, `Not searched for hits: ${WELLS.excluded[index]}`) : null;
};

const numbersTable = (index, keys) => {
  const list = make("dl", { class: "facts" });
  keys.forEach((at) => {
    const measure = DATA.measures[at];
    list.append(make("dt", {}, measure.title), make("dd", {}, said(valueOf(at, index), measure.kind)));
  });
  return list;
};

const numbersOfWell = (index) => {
  const first = ["occupancy_mean", "occupancy_pooled", "n_cells", "n_endolysosomes", "n_loaded", "robust_z", "b_score"]
    .map(measureAt).filter((at) => at >= 0);
  if (!first.includes(maps.measure)) first.push(maps.measure);
  const rest = DATA.measures.map((_, at) => at).filter((at) => !first.includes(at));
  return make("div", { class: "numbers" }, numbersTable(index, first),
    make("details", {}, make("summary", {}, `All ${DATA.measures.length} numbers`), numbersTable(index, rest)));
};

const statusOf = (index, field) => {
  const found = (DATA.fields[keyOf(index)] || []).find((entry) => entry[0] === field);
  return found ? { status: found[1], reason: found[2] } : { status: "ok", reason: "" };
};

const contrastOf = (index) => {
  const limits = DATA.contrasts[WELLS.plate[index]];
  if (!limits) return "";
  const [lysosome, cargo] = limits.map(([low, high]) => `${said(low, "count")} to ${said(high, "count")}`);
  return `Black to white on this plate: ${DATA.cargo} ${cargo}, ${DATA.lysosome} ${lysosome} grey values, gamma ${DATA.gamma}.`;
};

const controls = (redraw) => {
  const channels = make("select", { "aria-label": "Channels" });
  [["both", `${DATA.cargo} red, ${DATA.lysosome} green`], ["safe", `${DATA.cargo} orange, ${DATA.lysosome} blue`],
    ["lysosome", `${DATA.lysosome} alone`], ["cargo", `${DATA.cargo} alone`]].forEach(([value, text]) => channels.append(option(value, text)));
  const light = make("select", { "aria-label": "Brightness" });
  ["1", "2", "4", "8"].forEach((value) => light.append(option(value, `brightness × ${value}`)));
  [[channels, "channels"], [light, "light"]].forEach(([select, name]) => {
    select.value = choice[name];
    select.addEventListener("change", () => { choice[name] = select.value; redraw(); });
  });
  const box = (name, text) => {
    const input = make("input", { type: "checkbox", checked: choice[name] });
    input.addEventListener("change", () => { choice[name] = input.checked; redraw(); });
    return make("label", { class: "box" }, input, text);
  };
  return make("div", { class: "bar small" }, channels, light, box("outlines", "endolysosomes"), box("cells", "cells"));
};

const fieldsOf = (index, views) => {
  if (!views.length) return { element: make("p", { class: "aside" }, "The page holds no pictures of this well."), go: () => {}, current: () => null };
  const canvas = make("canvas", { class: "pixels", role: "img" });
  const stage = make("div", { class: "picture" }, canvas);
  const caption = make("p", { class: "caption" });
  const images = new Map();
  let [now, lit] = [null, null];
  const imageOf = (view) => {
    if (!images.has(view.field)) images.set(view.field, load(view));
    return images.get(view.field);
  };
  const light = (cell) => {
    lit = cell;
    all(".outline", stage).forEach((line) => line.classList.toggle("lit", Number(line.dataset.cell) === cell));
  };
  const paintField = () => {
    const view = now;
    const { status, reason } = statusOf(index, view.field);
    caption.replaceChildren(`Field ${view.field} `, tag(status), reason ? ` ${reason}` : "", view.note ? make("em", {}, ` ${view.note}`) : "", view.image ? make("span", { class: "contrast" }, contrastOf(index)) : "");
    stage.classList.toggle("absent", !view.image);
    all(".overlay", stage).forEach((old) => old.remove());
    if (!view.image) return;
    canvas.setAttribute("aria-label", `Field ${view.field} of well ${WELLS.well[index]}`);
    stage.classList.toggle("no-regions", !choice.outlines);
    stage.classList.toggle("no-cells", !choice.cells);
    canvas.style.filter = choice.light === "1" ? "none" : `brightness(${choice.light})`;
    stage.append(overlay(view));
    light(lit);
    imageOf(view).then((image) => { if (now === view) compose(canvas, image, choice.channels); });
  };
  const buttons = views.map((view) => {
    const { status } = statusOf(index, view.field);
    const small = make("canvas", { class: "thumb", width: 56, height: 56, "aria-hidden": "true" });
    const button = make("button", { type: "button", class: `field ${status}`, "aria-label": `Field ${view.field}, ${status}` }, small, make("span", {}, String(view.field)));
    button.addEventListener("click", () => go(view.field));
    if (view.image) imageOf(view).then((image) => compose(small, image, "both"));
    return button;
  });
  const go = (field, cell) => {
    now = views.find((view) => view.field === field) || views[0];
    lit = cell === undefined ? null : cell;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(views[i] === now)));
    rove(buttons, buttons[views.indexOf(now)]);
    paintField();
  };
  const strip = make("div", { class: "thumbs", role: "group", "aria-label": "Fields" }, ...buttons);
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = step && buttons[buttons.indexOf(document.activeElement) + step];
    if (!to) return;
    event.preventDefault();
    moveTo(buttons, to);
    to.click();
  });
  go((views.find((view) => view.image) || views[0]).field);
  return { element: make("div", { class: "fields" }, strip, controls(paintField), stage, caption), go, current: () => now.field };
};

const CELL_COLUMNS = [["field", "Field"], ["cell", "Cell"], ["occupancy", "Occ."], ["n_endolysosomes", "n"], ["n_loaded", "Loaded"],
  ["area_um2", "µm²"], ["is_expressing", "Expr."], ["touches_border", "Border"]];

const cellText = (key, value) => {
  if (!Number.isFinite(value)) return UNDEFINED;
  if (key === "is_expressing" || key === "touches_border") return value ? "yes" : "no";
  return key === "occupancy" ? value.toFixed(2) : key === "area_um2" ? decimals(value) : String(Math.round(value));
};

const cellsOf = (index, fields) => {
  const columns = CELL_COLUMNS.map(([key, title]) => ({ key, title, values: cellsOfWell(index, key) })).filter((column) => column.values.length);
  const n = columns.length ? columns[0].values.length : 0;
  if (!n) return make("p", { class: "aside" }, DATA.cells.length ? "No cell was found in this well." : "Cells are too many for a page of this size; tables/cells.parquet has them.");
  const rows = Array.from({ length: n }, (_, i) => make("tr", { tabindex: i ? "-1" : "0", dataset: { row: String(i) } },
    ...columns.map(({ key, values }) => make("td", { class: "num", dataset: { value: Number.isFinite(values[i]) ? String(values[i]) : "" } }, cellText(key, values[i])))));
  const table = make("table", { class: "data cells-of-well" }, make("caption", {}, `${plural(n, "cell")}; choose one to see it in its field`),
    make("thead", {}, make("tr", {}, ...columns.map(({ title }) => make("th", { scope: "col", class: "num" }, title)))), make("tbody", {}, ...rows));
  makeSortable(table);
  const pick = (row) => {
    rows.forEach((other) => other.classList.toggle("picked", other === row));
    const at = (key) => columns.find((column) => column.key === key).values[Number(row.dataset.row)];
    fields.go(at("field"), at("cell"));
  };
  table.tBodies[0].addEventListener("click", (event) => { const row = event.target.closest("tr"); moveTo(rows, row); pick(row); });
  table.tBodies[0].addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const to = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (to) {
      event.preventDefault();
      moveTo(rows, to);
      pick(to);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      pick(row);
    }
  });
  return make("div", { class: "cells" }, cellStrip(index), make("div", { class: "scroll", role: "region", "aria-label": "Cells of the well" }, table));
};

// The distribution of the measurement that the map shows, or of occupancy.
const cellStrip = (index) => {
  const shown = DATA.measures[maps.measure].key.replace(/^cells:/, "");
  const measure = DATA.cells.find((each) => each.key === shown) || DATA.cells.find((each) => each.key === "occupancy");
  if (!measure) return null;
  const range = rangeOf(measure, [index]);
  return make("figure", { class: "cell-strip" }, make("figcaption", {}, `Cells: ${measure.title}; the ring is their mean`),
    dotsOf([index], measure, range, { names: false }), axisOf(measure, range));
};

const openWell = (index, { from } = {}) => {
  returnTo = from || document.activeElement;
  maps.chosen = index;
  hush();
  mark();
  rove(maps.lists[WELLS.plate[index]], maps.elements[index]);
  const fields = fieldsOf(index, picturesOfWell(index));
  panel.replaceChildren(...[headOf(index), verdictOf(index), fields.element, numbersOfWell(index), cellsOf(index, fields)].filter(Boolean));
  panel.classList.add("opened");
  panel.setAttribute("aria-labelledby", "panel-title");
  panel.scrollTop = 0;
  panel.focus({ preventScroll: true });
  const top = panel.getBoundingClientRect().top;
  if (top < 0 || top > window.innerHeight * 0.6) panel.scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
};
