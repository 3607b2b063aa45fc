// Stored values → grey levels, to the level what s4s_notebook.imaging.render computes:
// the same operations on the same 64-bit floats in the same order, then truncated.
//
// A slice is {rows, columns, type, pixels, slope, intercept, modality, unit, inverse, padding,
// windows, whole, spacing, aspect, position, orientation, edges, label}: `windows` are the file's own,
// `edges` the letters {top, bottom, left, right}, `whole` the one from its smallest to its largest value, `modality` a table or null;
// a window is {center, width, rule} with rule LINEAR, LINEAR_EXACT or SIGMOID
// (PS3.3 C.11.2.1.2-3), or {table, first, bits} for a VOI LUT (C.11.2.1.1).

const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, float32: Float32Array, float64: Float64Array,
  rgb: Uint8Array,
};

/** The slice's pixels as an array of numbers (rows × columns, × 3 for rgb). */
export function pixelsOf(slice, buffer) {
  const Kind = ARRAYS[slice.type];
  if (!Kind) throw new Error(`unknown pixel type ${slice.type}`);
  const samples = slice.type === "rgb" ? 3 : 1;
  const wanted = slice.rows * slice.columns * samples;
  const view = ArrayBuffer.isView(buffer) ? buffer : new Uint8Array(buffer);
  if (view.byteLength !== wanted * Kind.BYTES_PER_ELEMENT) {
    throw new Error(`${view.byteLength} bytes came for ${wanted} ${slice.type} samples`);
  }
  const aligned = view.byteOffset % Kind.BYTES_PER_ELEMENT === 0
    ? view : new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
  return new Kind(aligned.buffer, aligned.byteOffset, wanted);
}

const look = ({ table, first }, value) => (
  table[Math.min(Math.max(Math.trunc(value || 0) - first, 0), table.length - 1)]);

/** What a stored value means, in the slice's unit: HU, counts, Gy, ... */
export function valueOf(slice, stored) {
  const { slope, intercept } = slice;
  if (slice.modality) return look(slice.modality, stored);
  if (slope === 1 && intercept === 0) return stored;
  if (slice.type === "float32") { // NumPy stays within 32 bits there
    return Math.fround(Math.fround(stored * Math.fround(slope)) + Math.fround(intercept));
  }
  return stored * slope + intercept;
}

/** The quantity {value, unit} that the file maps a pixel to (real world value mapping), or null. */
export function quantityAt(slice, [column, row]) {
  const stored = slice.pixels[row * slice.columns + column];
  const map = (slice.quantities ?? []).find(({ first, last }) => stored >= first && stored <= last);
  return map ? { value: stored * map.slope + map.intercept, unit: map.unit } : null;
}

/** What a pixel of a slice means; [red, green, blue] for colour. */
export function valueAt(slice, [column, row]) {
  const at = row * slice.columns + column;
  return slice.type === "rgb" ? [...slice.pixels.slice(at * 3, at * 3 + 3)]
    : valueOf(slice, slice.pixels[at]);
}

const whole = (level) => Math.min(level, 255) | 0; // truncated; 0 for what is no number

/** A function from modality value to grey level (0-255, truncated) for this window;
 *  `inverse` (MONOCHROME1) runs from white to black before truncation, as DCMTK does. */
export function greyFunction(window, inverse = false) {
  const [black, white] = inverse ? [255, 0] : [0, 255];
  const reach = white - black;
  if (window.table) {
    const factor = reach / (2 ** window.bits - 1);
    return (value) => whole(black + look(window, value) * factor);
  }
  const { center, width, rule } = window;
  if (rule === "SIGMOID") {
    return (value) => whole(black + reach / (1 + Math.exp((-4 * (value - center)) / width)));
  }
  const exact = rule === "LINEAR_EXACT";
  const middle = exact ? center : center - 0.5;
  const span = exact ? width : width - 1;
  const low = middle - span / 2;
  const high = middle + span / 2;
  const slope = span ? reach / span : 0;
  const offset = span ? white - (middle / span + 0.5) * reach : 0;
  return (value) => {
    if (value <= low) return black;
    if (value > high) return white;
    return whole(exact ? black + reach / 2 + (value - middle) * reach / span
      : offset + value * slope);
  };
}

const OPAQUE = 0xff000000;
const rgba = (level) => (OPAQUE | (level * 0x010101)) >>> 0; // browsers are little-endian

/** Grey level of one stored value, padding and inversion included. */
function levelFunction(slice, window, inverted) {
  const grey = greyFunction(window, Boolean(slice.inverse));
  const padding = slice.padding;
  return (stored) => {
    if (padding && stored >= padding[0] && stored <= padding[1]) return 0;
    const level = grey(valueOf(slice, stored));
    return inverted ? 255 - level : level;
  };
}

/**
 * Paints slices; keeps the last look-up table, since most slices of a series share it.
 * 8 and 16 bits go through a table of 256 or 65,536 pixels, filled as far as the slice has
 * values (few scanners use all 65,536, and a window that is dragged fills it in each frame);
 * wider values are computed
 * one by one, so that nothing is lost by squeezing them into 16 bits first.
 */
export class Painter {
  #key = "";
  #source = null;
  #table = null;
  #filled = [0, -1]; // the values that the table holds

  /** Fills `out` (Uint32Array, rows × columns, RGBA) with the picture of `slice`. */
  paint(slice, window, inverted, out) {
    const { pixels } = slice;
    if (slice.type === "rgb") return paintColour(pixels, inverted, out);
    if (pixels.BYTES_PER_ELEMENT > 2) return this.#direct(slice, window, inverted, out);
    const table = this.#tableFor(slice, window, inverted);
    const bits = pixels.BYTES_PER_ELEMENT === 1
      ? new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length)
      : new Uint16Array(pixels.buffer, pixels.byteOffset, pixels.length);
    for (let i = 0; i < bits.length; i += 1) out[i] = table[bits[i]];
    return out;
  }

  #direct(slice, window, inverted, out) {
    const level = levelFunction(slice, window, inverted);
    const { pixels } = slice;
    for (let i = 0; i < pixels.length; i += 1) out[i] = rgba(level(pixels[i]));
    return out;
  }

  #tableFor(slice, window, inverted) {
    const key = [slice.type, slice.slope, slice.intercept, slice.inverse, slice.padding,
      window.center, window.width, window.rule, inverted].join("|");
    const source = window.table ?? slice.modality?.table ?? null;
    let [low, high] = slice.reach ??= reachOf(slice.pixels);
    if (key === this.#key && source === this.#source && !slice.modality) {
      const [from, to] = this.#filled;
      if (low >= from && high <= to) return this.#table;
      [low, high] = [Math.min(low, from), Math.max(high, to)]; // for slices by turns
    }
    const level = levelFunction(slice, window, inverted);
    const size = slice.type.endsWith("8") ? 256 : 65536;
    const table = this.#table?.length === size ? this.#table : new Uint32Array(size);
    for (let value = low; value <= high; value += 1) table[value & (size - 1)] = rgba(level(value));
    this.#filled = [low, high];
    this.#key = key;
    this.#source = source;
    this.#table = table;
    return table;
  }
}

/** The smallest and the largest value; [0, -1] of nothing. */
function reachOf(pixels) {
  if (!pixels.length) return [0, -1];
  let [low, high] = [pixels[0], pixels[0]];
  for (let i = 1; i < pixels.length; i += 1) {
    const value = pixels[i];
    if (value < low) low = value;
    else if (value > high) high = value;
  }
  return [low, high];
}

function paintColour(pixels, inverted, out) {
  const flip = inverted ? 0xffffff : 0;
  for (let i = 0, j = 0; i < out.length; i += 1, j += 3) {
    out[i] = (OPAQUE | ((pixels[j] | (pixels[j + 1] << 8) | (pixels[j + 2] << 16)) ^ flip)) >>> 0;
  }
  return out;
}
