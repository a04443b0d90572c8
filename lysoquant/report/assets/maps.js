// The plates with any measurement as colours: copies of the static maps, one an acquired plate.
const maps = { measure: 0, elements: new Array(N_WELLS), lists: [], chosen: null };

const describe = (index) => {
  const lines = [`${WELLS.well[index]} · ${WELLS.condition[index] || "no condition"}`];
  if (WELLS.control[index]) lines[0] += ` · ${WELLS.control[index]} control`;
  if (WELLS.replicate[index]) lines[0] += ` · replicate ${WELLS.replicate[index]}`;
  const measure = DATA.measures[maps.measure];
  if (measure && measure.key !== "occupancy_mean") lines.push(`${measure.title}: ${said(valueOf(maps.measure, index), measure.kind)}`);
  const count = (key) => numberOf(key, index) || 0;
  lines.push(`occupancy ${said(numberOf("occupancy_mean", index), "fraction")} (SD ${said(numberOf("occupancy_sd", index), "fraction")})`);
  lines.push(`${plural(count("n_endolysosomes"), "endolysosome")}, ${count("n_loaded").toLocaleString("en")} loaded`);
  const failed = count("n_fields_failed");
  lines.push(`${plural(count("n_cells"), "cell")} in ${plural(count("n_fields"), "field")}${failed ? `, ${failed} failed` : ""}`);
  const hit = HIT_OF.get(index);
  if (hit && hit.direction) lines.push(hit.said);
  if (WELLS.flags[index]) lines.push(`${WELLS.status[index]}: ${WELLS.flags[index]}`);
  if (WELLS.reason[index]) lines.push(WELLS.reason[index]);
  return lines;
};

const shortly = (value, kind) => {
  if (kind === "fraction") return value.toFixed(2).replace(/^0/, "");
  if (Math.abs(value) >= 9950) return `${Math.round(value / 1000)}k`;
  if (Math.abs(value) >= 1000) return `${(value / 1000).toFixed(1)}k`;
  if (kind === "count" || Math.abs(value) >= 100) return String(Math.round(value)).replace("-", "−");
  return minus(value.toFixed(Math.abs(value) >= 10 ? 1 : 2).replace(/^(-?)0\./, "$1."));
};

const paint = () => {
  const measure = DATA.measures[maps.measure];
  const scale = scaleOf(measure, DATA.values[maps.measure]);
  maps.elements.forEach((element, index) => {
    if (!element) return;
    const value = valueOf(maps.measure, index);
    const [square, mark] = [element.querySelector("rect"), element.querySelector("text:not(.sign)")];
    const failed = WELLS.status[index] === "failed";
    const colour = isNumber(value) ? colourOn(scale, value) : null;
    square.setAttribute("fill", colour ? hexOf(colour) : failed ? "url(#hatch-failed)" : "url(#hatch-undefined)");
    element.setAttribute("class", `well ${colour ? "value" : failed ? "failed" : "undefined"} ${WELLS.status[index]}`);
    mark.textContent = DATA.plates[WELLS.plate[index]].columns > 12 ? "" : colour ? shortly(value, measure.kind) : failed ? "" : UNDEFINED;
    all("text", element).forEach((text) => text.setAttribute("fill", colour ? inkOn(colour) : "currentColor"));
    element.setAttribute("aria-label", describe(index).join(", "));
  });
  byId("legend").replaceChildren(...legendOf(scale, measure));
  byId("live").classList.toggle("changed", measure.key !== "occupancy_mean");
  mark();
};

// Wells that are looked for; the others step back. Nothing chosen: all stand alike.
let wanted = null;
const mark = () => {
  maps.elements.forEach((element, index) => {
    if (!element) return;
    element.classList.toggle("dim", wanted !== null && !wanted.has(index));
    element.classList.toggle("open", maps.chosen === index);
  });
  byId("clear").hidden = wanted === null;
};
const highlight = (indices) => {
  wanted = indices === null ? null : new Set(indices);
  mark();
};

const tip = make("div", { id: "tip", "aria-hidden": "true", hidden: true });
const tell = (element) => {
  tip.replaceChildren(...describe(Number(element.dataset.index)).map((line, i) => make(i ? "div" : "b", {}, line)));
  tip.hidden = false;
  const [box, own] = [element.getBoundingClientRect(), tip.getBoundingClientRect()];
  const left = box.right + 8 + own.width < window.innerWidth ? box.right + 8 : Math.max(4, box.left - own.width - 8);
  const top = Math.min(Math.max(4, box.top - 8), window.innerHeight - own.height - 4);
  tip.style.left = `${left + window.scrollX}px`;
  tip.style.top = `${top + window.scrollY}px`;
};
const hush = () => { tip.hidden = true; };

const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -99], End: [0, 99] };
const placeOf = (element) => [Number(element.dataset.row), Number(element.dataset.column)];
const nextTo = (elements, from, [down, right]) => {
  const [row, column] = placeOf(from);
  const ahead = elements.filter((element) => {
    const [r, c] = placeOf(element);
    return down ? c === column && (r - row) * down > 0 : r === row && (c - column) * right > 0;
  });
  const far = Math.abs(right) > 1 ? -1 : 1;
  const distance = (element) => far * (Math.abs(placeOf(element)[0] - row) + Math.abs(placeOf(element)[1] - column));
  return ahead.sort((a, b) => distance(a) - distance(b))[0];
};

const makeMap = (section, plate) => {
  const source = section.querySelector('figure[data-metric="occupancy"] svg.plate');
  const map = source.cloneNode(true);
  const name = DATA.plates[plate].name;
  map.setAttribute("aria-label", `Plate ${name}`);
  const elements = all(".well", map);
  elements.forEach((element) => {
    const index = INDEX.get(`${name}:${element.dataset.well}`);
    all("title", element).forEach((title) => title.remove());
    const [square, text] = [element.querySelector("rect"), element.querySelector("text:not(.sign)")];
    const middle = Number(square.getAttribute("width")) / 2;
    if (!text) {
      const [x, y] = ["x", "y"].map((axis) => Number(square.getAttribute(axis)));
      element.append(draw("text", { x: x + middle, y: y + middle + 3.7, "text-anchor": "middle" }));
    }
    Object.assign(element.dataset, { index, row: square.getAttribute("y"), column: square.getAttribute("x") });
    element.setAttribute("role", "button");
    maps.elements[index] = element;
  });
  elements.forEach((element) => {
    // Rows and columns as whole numbers, so that arrow keys step by one.
    element.dataset.row = String(Math.round(Number(element.dataset.row) / 32));
    element.dataset.column = String(Math.round(Number(element.dataset.column) / 32));
  });
  maps.lists[plate] = elements;
  rove(elements, elements[0]);
  const wellAt = (event) => event.target.closest(".well");
  map.addEventListener("pointerover", (event) => (wellAt(event) ? tell(wellAt(event)) : hush()));
  map.addEventListener("pointerleave", hush);
  map.addEventListener("focusin", (event) => wellAt(event) && tell(wellAt(event)));
  map.addEventListener("focusout", hush);
  map.addEventListener("click", (event) => wellAt(event) && openWell(Number(wellAt(event).dataset.index)));
  map.addEventListener("keydown", (event) => {
    const from = wellAt(event);
    if (!from) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      openWell(Number(from.dataset.index));
      return;
    }
    const to = moves[event.key] && nextTo(elements, from, moves[event.key]);
    if (!to) return;
    event.preventDefault();
    moveTo(elements, to);
  });
  const note = section.querySelector("h3").cloneNode(true);
  return make("figure", { class: DATA.plates[plate].columns > 12 ? "wide" : "" }, make("figcaption", {}, ...note.childNodes), map);
};

const focusWell = (index) => moveTo(maps.lists[WELLS.plate[index]], maps.elements[index]);
