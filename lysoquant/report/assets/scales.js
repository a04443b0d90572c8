const shareOf = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.round(share * (sorted.length - 1)))];

// Ends and colours of the scale of a measurement over all plates.
const scaleOf = (measure, values) => {
  const sorted = values.filter(isNumber).sort((a, b) => a - b);
  const largest = sorted.length ? sorted[sorted.length - 1] : 0;
  if (byId("stretch").checked && sorted.length && measure.kind !== "score") {
    return { low: sorted[0], high: largest, palette: measure.kind === "count" ? DATA.palettes.cividis : DATA.palettes.viridis, clipped: false };
  }
  if (measure.kind === "fraction") return { low: 0, high: 1, palette: DATA.palettes.viridis, clipped: false };
  if (measure.kind === "count") return { low: 0, high: largest, palette: DATA.palettes.cividis, clipped: false };
  if (measure.kind === "score") {
    const sizes = sorted.map(Math.abs).sort((a, b) => a - b);
    const end = sizes.length ? shareOf(sizes, 0.98) || 1 : 1;
    return { low: -end, high: end, palette: DATA.palettes.diverging, clipped: sizes[sizes.length - 1] > end };
  }
  // A single burnt well must not give all the others one colour.
  const [low, high] = sorted.length ? [shareOf(sorted, 0.02), shareOf(sorted, 0.98)] : [0, 0];
  return { low, high, palette: DATA.palettes.viridis, clipped: sorted[0] < low || largest > high };
};

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const colourOn = (scale, value) => {
  const share = scale.high > scale.low ? Math.min(Math.max((value - scale.low) / (scale.high - scale.low), 0), 1) : 0;
  const place = share * (scale.palette.length - 1);
  const left = Math.min(Math.floor(place), scale.palette.length - 2);
  const [from, to] = [rgb(scale.palette[left]), rgb(scale.palette[left + 1])];
  return from.map((channel, i) => Math.round(channel + (to[i] - channel) * (place - left)));
};
const hexOf = (channels) => `#${channels.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
const inkOn = (channels) => {
  const linear = channels.map((c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return (luminance + 0.05) / 0.062 > 1.05 / (luminance + 0.05) ? "#1b1f24" : "#ffffff";
};

const legendOf = (scale, measure) => {
  const bar = draw("svg", { viewBox: "0 0 132 10", width: 132, height: 10, role: "img", preserveAspectRatio: "none", "shape-rendering": "crispEdges" });
  for (let i = 0; i < 44; i += 1) {
    const fill = hexOf(colourOn({ ...scale, low: 0, high: 43 }, i));
    bar.append(draw("rect", { x: i * 3, y: 0, width: 3, height: 10, fill }));
  }
  const [low, high] = [scale.low, scale.high].map((end) => said(end, measure.kind));
  bar.setAttribute("aria-label", `${measure.title} from ${low} to ${high}`);
  const [under, over] = scale.clipped ? ["≤ ", "≥ "] : ["", ""];
  return [make("span", {}, `${under}${low}`), bar, make("span", {}, `${over}${high}`)];
};
