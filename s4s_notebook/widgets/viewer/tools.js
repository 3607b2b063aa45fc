// The tool in hand, and what two of them do: probe a pixel, measure a length, by mouse or keys.

import { patientPoint } from "./geometry.js";
import { quantityAt, valueAt } from "./grayscale.js";
import { probeText, valueText } from "./viewport.js";

export const TOOLS = [["window", "Window and level (w)"], ["pan", "Pan (g)"], ["zoom", "Zoom (z)"],
  ["length", "Measure a length (m)"], ["probe", "Probe (p)"]];
const SHORTEST = 0.5; // pixels; a click is no length

export class Tools {
  #viewer;
  #probed = null;
  name = "window";
  cursor = null; // an image point, for the keys
  draft = null; // a length that has only its first end, and where the second is now

  constructor(viewer) { this.#viewer = viewer; }

  use(name) {
    this.name = name;
    this.drop();
    this.#viewer.bars.showTool(name);
    this.#viewer.stage.node.dataset.tool = name;
    this.#viewer.refresh();
    if (this.#viewer.plane) this.#viewer.announce(TOOLS.find(([one]) => one === name)[1]);
  }

  /** To another plane: what was probed there is elsewhere. */
  leave() {
    this.drop();
    this.probe(null);
  }

  drop() {
    this.cursor = null;
    this.draft = null;
  }

  /** An arrow key, `by` times: what it moves depends on the tool. */
  arrow(dx, dy, by) {
    const viewer = this.#viewer;
    if (this.name === "probe" || this.name === "length") this.moveCursor(dx * by, dy * by);
    else if (by > 1) viewer.windows.drag(dx * by, -dy * by);
    else if (this.name === "pan") viewer.camera.panBy(-dx * 20, -dy * 20);
    else viewer.step(dx + dy);
  }

  moveCursor(dx, dy) {
    const { slice } = this.#viewer;
    if (!slice) return;
    const [x, y] = this.cursor ?? [Math.floor(slice.columns / 2), Math.floor(slice.rows / 2)];
    const moved = this.cursor ? [x + dx, y + dy] : [x, y];
    this.cursor = [Math.min(Math.max(moved[0], 0), slice.columns - 1),
      Math.min(Math.max(moved[1], 0), slice.rows - 1)];
    if (this.draft) this.draft[1] = this.cursor;
    this.#viewer.refresh();
    this.#viewer.announce(this.probe(this.cursor));
  }

  /** Enter: the first end, then the second, of a length. */
  enter() {
    if (this.name !== "length" && this.name !== "probe") return;
    if (!this.cursor || this.name === "probe") this.moveCursor(0, 0);
    else if (this.draft) this.endLine();
    else this.draft = [this.cursor, this.cursor];
  }

  endLine() {
    const [from, to] = this.draft ?? [];
    this.draft = null;
    if (from && Math.hypot(to[0] - from[0], to[1] - from[1]) >= SHORTEST) {
      this.#viewer.place.lines.push([from, to]);
      this.#viewer.announce(`Length ${this.#viewer.stage.lengthText(from, to)}`);
    }
    this.#viewer.refresh();
  }

  removeLine() {
    this.#viewer.place.lines.pop();
    this.#viewer.refresh();
  }

  /** Puts the marks on the slice shown. */
  mark() {
    const { lines } = this.#viewer.place;
    this.#viewer.stage.mark(this.draft ? [...lines, this.draft] : lines, this.cursor);
  }

  /** Shows, and gives, what is at an image point: pixel, mm, value with unit; null: nowhere. */
  probe(point) {
    const { slice, stage } = this.#viewer;
    this.#probed = point;
    const pixel = slice && point && stage.pixelAt(point);
    const text = pixel ? probeText(slice, pixel, patientPoint(slice, ...pixel),
      valueText(slice, valueAt(slice, pixel), quantityAt(slice, pixel))) : "";
    this.#viewer.bars.readout(text);
    return text;
  }

  /** What is at the same point, in a slice that has just come on screen. */
  probeAgain() { if (this.#probed) this.probe(this.#probed); }
}
