// Conditions by any measurement of cells: every cell a dot, every well a lane.
const STRIP = { width: 620, left: 46, right: 12, pad: 5 };
const GOLDEN = (Math.sqrt(5) - 1) / 2;

const rangeOf = (measure, indices) => {
  if (measure.kind === "fraction") return [0, 1];
  let [low, high] = [Infinity, -Infinity];
  indices.forEach((index) => cellsOfWell(index, measure.key).forEach((value) => {
    if (value < low) low = value;
    if (value > high) high = value;
  }));
  if (measure.kind === "count") low = 0;
  return low < high ? [low, high] : [low === Infinity ? 0 : low - 0.5, high === -Infinity ? 1 : high + 0.5];
};

const dotsOf = (indices, measure, [low, high], { names = true, tone = "sample" } = {}) => {
  const step = indices.length <= 8 ? 20 : indices.length <= 24 ? 13 : 8;
  const height = indices.length * step + 2 * STRIP.pad;
  const xOf = (value) => STRIP.left + ((value - low) / (high - low)) * (STRIP.width - STRIP.left - STRIP.right);
  const svg = draw("svg", { class: `strip ${tone}`, viewBox: `0 0 ${STRIP.width} ${height}`, role: "img", "aria-label": measure.title });
  [0, 0.25, 0.5, 0.75, 1].forEach((share) => {
    const x = xOf(low + share * (high - low)).toFixed(1);
    svg.append(draw("line", { class: "grid", x1: x, x2: x, y1: 0, y2: height }));
  });
  const radius = step > 8 ? 2.4 : 1.7;
  const means = [];
  indices.forEach((index, lane) => {
    const values = cellsOfWell(index, measure.key);
    const expressing = cellsOfWell(index, "is_expressing");
    const middle = STRIP.pad + (lane + 0.5) * step;
    const order = Array.from(values.keys()).filter((i) => Number.isFinite(values[i])).sort((a, b) => values[a] - values[b]);
    const paths = ["", ""];
    order.forEach((i, rank) => {
      const aside = expressing.length && expressing[i] === 0 ? 1 : 0;
      paths[aside] += `M${xOf(values[i]).toFixed(1)} ${(middle + (((rank * GOLDEN) % 1) - 0.5) * (step - 5)).toFixed(1)}h0`;
    });
    ["cells", "cells aside"].forEach((kind, aside) => {
      if (paths[aside]) svg.append(draw("path", { class: kind, "stroke-width": 2 * radius - aside, d: paths[aside] }));
    });
    if (names && step > 8) {
      const name = draw("text", { class: "lane", x: 0, y: middle + 3.5 });
      name.textContent = WELLS.well[index];
      svg.append(name);
    }
    const mean = numberOf(`cells:${measure.key}`, index);
    if (isNumber(mean)) {
      means.push(mean);
      const title = draw("title");
      title.textContent = `${keyOf(index)}: ${measure.title}, mean ${said(mean, measure.kind)}`;
      svg.append(draw("circle", { class: "well-mean", "data-key": keyOf(index), cx: xOf(mean).toFixed(1), cy: middle, r: step > 8 ? 4.6 : 3.2 }, title));
    }
  });
  if (indices.length > 1 && means.length) {
    const x = xOf(means.reduce((a, b) => a + b, 0) / means.length).toFixed(1);
    svg.append(draw("line", { class: "mean", x1: x, x2: x, y1: 1, y2: height - 1 }));
  }
  return svg;
};

const meanAndSd = (values) => {
  const known = values.filter(isNumber);
  if (!known.length) return [NaN, NaN];
  const mean = known.reduce((a, b) => a + b, 0) / known.length;
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, known.length > 1 ? Math.sqrt(squares / (known.length - 1)) : NaN];
};

const axisOf = (measure, [low, high]) => {
  const svg = draw("svg", { class: "strip", viewBox: `0 0 ${STRIP.width} 16`, "aria-hidden": "true" });
  [0, 0.25, 0.5, 0.75, 1].forEach((share) => {
    const x = STRIP.left + share * (STRIP.width - STRIP.left - STRIP.right);
    const text = draw("text", { class: "tick", x: x.toFixed(1), y: 12, "text-anchor": "middle" });
    text.textContent = measure.kind === "fraction" ? String(low + share * (high - low)) : said(low + share * (high - low), measure.kind);
    svg.append(text);
  });
  return svg;
};

const startStrips = () => {
  const select = byId("strip-measure");
  const rows = all(".strips tbody tr");
  if (!select || !rows.length || !DATA.cells.length) return;
  const shown = DATA.cells.filter((measure) => !["is_expressing", "touches_border"].includes(measure.key));
  grouped(select, shown.map((measure) => ({
    value: measure.key, text: measure.title, group: measure.key.startsWith("mean_") ? "Mean of the cell’s endolysosomes" : "Cell",
  })));
  const wells = new Map();
  WELLS.condition.forEach((name, index) => {
    const key = name || "no condition";
    wells.set(key, [...(wells.get(key) || []), index]);
  });
  const [axis, first] = [byId("strip-axis"), new Map(rows.map((row) => [row, [...row.querySelector(".plot").childNodes]]))];
  const values = new Map(rows.map((row) => [row, row.lastElementChild.textContent]));
  const axisFirst = [...axis.childNodes];
  select.addEventListener("change", () => {
    const measure = shown.find((each) => each.key === select.value);
    const range = rangeOf(measure, WELLS.well.map((_, index) => index));
    const original = measure.key === "occupancy";
    axis.replaceChildren(...(original ? axisFirst : [axisOf(measure, range)]));
    rows.forEach((row) => {
      const indices = wells.get(row.dataset.condition) || [];
      const tone = WELLS.control[indices[0]] || "sample";
      row.querySelector(".plot").replaceChildren(...(original ? first.get(row) : [dotsOf(indices, measure, range, { tone })]));
      const [mean, sd] = meanAndSd(indices.map((index) => numberOf(`cells:${measure.key}`, index)));
      row.lastElementChild.textContent = original ? values.get(row) : `${said(mean, measure.kind)}${isNumber(sd) ? ` ± ${said(sd, measure.kind)}` : ""}`;
    });
  });
};
