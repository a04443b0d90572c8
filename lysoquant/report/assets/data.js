// The blocks of data are inert text until somebody looks at what is in them.
const block = (id) => {
  const element = byId(id);
  return element ? JSON.parse(element.textContent) : null;
};
const DATA = block("data");
const WELLS = DATA.wells;
const N_WELLS = WELLS.well.length;
const keyOf = (index) => `${DATA.plates[WELLS.plate[index]].name}:${WELLS.well[index]}`;
const INDEX = new Map(WELLS.well.map((_, index) => [keyOf(index), index]));
// The row of the hit list of each well that entered it.
const HIT_OF = new Map(DATA.hits.flatMap((hit) => hit.wells.map((index) => [index, hit])));
const valueOf = (measure, index) => DATA.values[measure][index];
const measureAt = (key) => DATA.measures.findIndex((measure) => measure.key === key);
const numberOf = (key, index) => {
  const measure = measureAt(key);
  return measure < 0 ? null : valueOf(measure, index);
};

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// low + step * code; the largest code is NaN.
const numbersOf = (column) => {
  const bytes = bytesOf(column.data);
  const n = bytes.length / column.bytes;
  const top = column.bytes === 1 ? 255 : 65535;
  const numbers = new Float64Array(n);
  for (let i = 0; i < n; i += 1) {
    const code = column.bytes === 1 ? bytes[i] : bytes[2 * i] | (bytes[2 * i + 1] << 8);
    numbers[i] = code === top ? NaN : column.low + column.step * code;
  }
  return numbers;
};

const plateCells = new Map();
const cellsOfPlate = (plate) => {
  if (!plateCells.has(plate)) plateCells.set(plate, { block: block(`cells-${plate}`), columns: new Map() });
  return plateCells.get(plate);
};
const cellColumn = (plate, name) => {
  const held = cellsOfPlate(plate);
  if (!held.block) return null;
  if (!held.columns.has(name)) {
    const place = DATA.cells.findIndex((measure) => measure.key === name);
    const coded = name === "field" || name === "cell" ? held.block[name] : held.block.columns[place];
    held.columns.set(name, coded ? numbersOf(coded) : null);
  }
  return held.columns.get(name);
};
// Numbers of the cells of a well, in the order of the table; empty where the page holds none.
const cellsOfWell = (index, name) => {
  const column = cellColumn(WELLS.plate[index], name);
  const rows = column && cellsOfPlate(WELLS.plate[index]).block.wells[WELLS.well[index]];
  return rows ? column.subarray(rows[0], rows[1]) : new Float64Array(0);
};

const picturesOfWell = (index) => {
  const found = block(`pictures-${WELLS.plate[index]}-${WELLS.well[index]}`);
  return found ? found.fields : [];
};

// A number of seven bits a byte, lowest first; the eighth bit says that more follow.
const reader = (text) => {
  const bytes = bytesOf(text);
  let at = 0;
  const number = () => {
    let [value, shift, code] = [0, 0, 128];
    while (code > 127) {
      code = bytes[at];
      at += 1;
      value += (code & 127) * 2 ** shift;
      shift += 7;
    }
    return value;
  };
  const step = () => {
    const value = number();
    return value % 2 ? -(value + 1) / 2 : value / 2;
  };
  const byte = () => {
    at += 1;
    return bytes[at - 1];
  };
  return { number, step, byte, more: () => at < bytes.length };
};

// Closed curves as lysoquant.report.outline.encode_outlines writes them: one path text a curve.
const curvesOf = (text) => {
  const { number, step, byte, more } = reader(text);
  const paths = [];
  let first = [0, 0];
  while (more()) {
    const n = number();
    let [y, x] = [first[0] + step(), first[1] + step()];
    first = [y, x];
    let path = `M${x} ${y}`;
    for (let i = 1; i < n; i += 1) {
      const code = byte();
      [y, x] = code ? [y + (code >> 4) - 8, x + (code & 15) - 8] : [y + step(), x + step()];
      path += `L${x} ${y}`;
    }
    paths.push(`${path}Z`);
  }
  return paths;
};

// Places as lysoquant.report.outline.encode_marks writes them: one path of dots.
const marksOf = (text, columns, grid) => {
  const { number, more } = reader(text);
  let [place, path] = [0, ""];
  while (more()) {
    place += number();
    path += `M${(place % columns) * grid} ${Math.floor(place / columns) * grid}h0`;
  }
  return path;
};
