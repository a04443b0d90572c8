const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
const byId = (id) => document.getElementById(id);

// Elements are made and never parsed from text: no name of a plate or condition can become markup.
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  Object.entries(attributes || {}).forEach(([name, value]) => {
    if (name === "class") element.className = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  });
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

const SVG = document.querySelector("svg").namespaceURI;
const draw = (tag, attributes, ...children) => {
  const element = document.createElementNS(SVG, tag);
  Object.entries(attributes || {}).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
};

const UNDEFINED = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const minus = (text) => text.replace("-", "−");
const decimals = (value) => {
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) return minus(value.toExponential(1));
  return minus(size < 1 ? value.toFixed(3) : size < 100 ? value.toFixed(2) : Math.round(value).toLocaleString("en"));
};
// A number as a person reads it, by the kind of its measurement.
const said = (value, kind) => {
  if (!isNumber(value)) return UNDEFINED;
  if (kind === "count") return Math.round(value).toLocaleString("en");
  return kind === "fraction" ? value.toFixed(2) : decimals(value);
};
const plural = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const show = (element) => element.scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "nearest" });

const option = (value, text) => make("option", { value: String(value) }, text);
const grouped = (select, entries) => {
  const groups = new Map();
  entries.forEach(({ value, text, group }) => {
    if (!groups.has(group)) groups.set(group, make("optgroup", { label: group }));
    groups.get(group).append(option(value, text));
  });
  select.append(...(groups.size > 1 ? groups.values() : entries.map(({ value, text }) => option(value, text))));
};

// One stop of the Tab key for a row of things; arrow keys lead on from there.
const rove = (items, stop) => items.forEach((item) => item.setAttribute("tabindex", item === stop ? "0" : "-1"));
const moveTo = (items, item) => {
  rove(items, item);
  item.focus();
};
