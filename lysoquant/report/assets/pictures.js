// A field's picture: lysosome above cargo in grey, put together here, so that either can be seen alone.
const COLOURS = { both: ["#00ff00", "#ff0000"], safe: ["#2080ff", "#ffa000"] };
const GRID = 2;

const load = (view) => {
  const image = new Image();
  image.src = `data:image/webp;base64,${view.image}`;
  return image.decode().then(() => image);
};

const compose = (canvas, image, channels) => {
  const [width, height] = [image.naturalWidth, image.naturalHeight / 2];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const part = (target, channel) => target.drawImage(image, 0, channel * height, width, height, 0, 0, width, height);
  if (!COLOURS[channels]) {
    part(context, channels === "lysosome" ? 0 : 1);
    return;
  }
  context.globalCompositeOperation = "lighter";
  COLOURS[channels].forEach((colour, channel) => {
    const layer = make("canvas", { width, height });
    const own = layer.getContext("2d");
    part(own, channel);
    own.globalCompositeOperation = "multiply";
    own.fillStyle = colour;
    own.fillRect(0, 0, width, height);
    context.drawImage(layer, 0, 0);
  });
};

const overlay = (view) => {
  const [height, width] = view.size;
  const svg = draw("svg", { class: "overlay", viewBox: `0 0 ${width * GRID} ${height * GRID}`, "aria-hidden": "true" });
  const lines = (text) => (view.shape === "outlines" ? curvesOf(text).join("") : marksOf(text, width, GRID));
  ["empty", "loaded"].forEach((kind) => {
    if (view[kind]) svg.append(draw("path", { class: `region ${kind} ${view.shape}`, d: lines(view[kind]) }));
  });
  curvesOf(view.cells.lines).forEach((path, i) => {
    svg.append(draw("path", { class: "outline", "data-cell": view.cells.numbers[i], d: path }));
  });
  return svg;
};
