// The stage: one canvas with exactly the picture's pixels, moved and scaled by CSS (so that
// zoom and pan paint nothing), an SVG for lines and cursor, and text in the corners.

import { imagePoint, lengthOf, place, stagePoint } from "./geometry.js";
import { Painter } from "./grayscale.js";
import { element, short, svg } from "./elements.js";

const CORNERS = ["top-left", "top-right", "bottom-left", "bottom-right"];
const EDGES = ["top", "bottom", "left", "right"];

export class Stage {
  #painter = new Painter();
  #context;
  #image = null;
  #words = null;
  #size = null;
  #placed = "";
  slice = null;
  placed = null;

  constructor(height) {
    this.canvas = element("canvas", { class: "s4s-picture", role: "img", "aria-label": "no image" });
    this.#context = this.canvas.getContext("2d", { alpha: false });
    this.marks = svg("svg", { class: "s4s-marks", "aria-hidden": "true" });
    this.corners = Object.fromEntries(
      CORNERS.map((name) => [name, element("div", { class: `s4s-corner s4s-${name}` })]));
    this.edges = Object.fromEntries(
      EDGES.map((name) => [name, element("div", { class: `s4s-edge s4s-edge-${name}` })]));
    this.notice = element("div", { class: "s4s-notice", hidden: true });
    this.node = element("div", {
      class: "s4s-stage", tabindex: "0", role: "application",
      "aria-roledescription": "image viewer", "aria-label": "Image. Press ? for the keys.",
      style: `height:${height}px`,
    }, this.canvas, this.marks, ...Object.values(this.edges), ...Object.values(this.corners),
    this.notice);
  }

  /** Paints the slice; the canvas then holds what imaging.render gives, pixel by pixel. */
  paint(slice, window, inverted) {
    const { canvas } = this;
    if (canvas.width !== slice.columns || canvas.height !== slice.rows || !this.#image) {
      canvas.width = slice.columns;
      canvas.height = slice.rows;
      this.#image = this.#context.createImageData(slice.columns, slice.rows);
      this.#words = new Uint32Array(this.#image.data.buffer);
    }
    this.#painter.paint(slice, window, inverted, this.#words);
    this.#context.putImageData(this.#image, 0, 0);
    this.slice = slice;
  }

  /** In CSS pixels. Kept, since reading it between two writes makes the browser lay out the page. */
  get size() {
    this.#size ??= { width: this.node.clientWidth, height: this.node.clientHeight };
    return this.#size;
  }

  /** To be called when the stage has another size. */
  resized() { this.#size = null; }

  /** Puts the picture at this zoom and pan, and the marks with it. */
  arrange(zoom, pan) {
    if (!this.slice) return;
    const { width, height } = this.size;
    if (!width || !height) return; // not on screen now
    this.placed = place(this.slice, width, height, zoom, pan);
    const { left, top, scaleX, scaleY } = this.placed;
    const transform = `translate(${left}px, ${top}px) scale(${scaleX}, ${scaleY})`;
    if (transform === this.#placed) return;
    this.#placed = transform;
    this.canvas.style.transform = transform;
    this.canvas.style.imageRendering = Math.min(scaleX, scaleY) >= 4 ? "pixelated" : "auto";
  }

  /** Lines are [[x0, y0], [x1, y1]] in image points; the cursor is one point or null. */
  mark(lines, cursor) {
    if (!this.slice || !this.placed) return;
    if (!lines.length && !cursor && !this.marks.firstChild) return;
    this.marks.replaceChildren(
      ...lines.map((line) => this.#line(line)),
      ...(cursor ? [this.#cross(cursor)] : []));
  }

  #line([from, to]) {
    const [x0, y0] = stagePoint(this.placed, from);
    const [x1, y1] = stagePoint(this.placed, to);
    const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)];
    const after = right < this.size.width / 2; // where there is room for the words
    const label = svg("text", { x: after ? right + 6 : left - 6, "text-anchor": after ? "start" : "end",
      y: (x1 >= x0) === after ? y1 : y0 });
    label.textContent = this.lengthText(from, to);
    return svg("g", {},
      svg("line", { x1: x0, y1: y0, x2: x1, y2: y1 }),
      svg("circle", { cx: x0, cy: y0, r: 2.5 }), svg("circle", { cx: x1, cy: y1, r: 2.5 }), label);
  }

  /** "12.3 mm", "0.45 s", "5.6 mm · estimated at the patient (÷ 1.8)" */
  lengthText(from, to) {
    const { parts, note } = lengthOf(this.slice, from, to);
    const text = parts.map(([value, unit]) => `${value.toFixed(unit === "s" ? 2 : 1)} ${unit}`);
    return text.join(", ") + (note ? ` · ${note}` : "");
  }

  #cross(point) {
    const [x, y] = stagePoint(this.placed, point);
    return svg("path", { class: "s4s-cursor",
      d: `M${x - 12} ${y}h8m8 0h8M${x} ${y - 12}v8m0 8v8` });
  }

  /** What the picture is, for a screen reader. */
  label(text) {
    if (this.canvas.ariaLabel !== text) this.canvas.ariaLabel = text;
  }

  /** Where the picture's edges point in the body. */
  letters() {
    for (const [edge, node] of Object.entries(this.edges)) {
      node.textContent = this.slice.edges?.[edge] ?? "";
    }
  }

  corner(name, lines) {
    const node = this.corners[name];
    const text = lines.filter(Boolean).join("\n");
    if (node.textContent !== text) node.textContent = text;
  }

  say(text) {
    if (this.notice.textContent === (text ?? "")) return;
    this.notice.hidden = !text;
    this.notice.textContent = text ?? "";
  }

  /** Image point under a pointer event. */
  pointOf(event) {
    const box = this.node.getBoundingClientRect();
    return imagePoint(this.placed, event.clientX - box.left, event.clientY - box.top);
  }

  /** The pixel at an image point as [column, row], or null outside the picture. */
  pixelAt([x, y]) {
    const column = Math.round(x);
    const row = Math.round(y);
    const inside = this.slice && column >= 0 && row >= 0
      && column < this.slice.columns && row < this.slice.rows;
    return inside ? [column, row] : null;
  }
}

/** "col 120, row 88 · x −12.3 y 40.2 z 100.0 mm · 43 HU" */
export function probeText(slice, [column, row], point, value) {
  const parts = [`col ${column}, row ${row}`];
  if (point) {
    const [x, y, z] = point.map((part) => part.toFixed(1).replace("-", "−"));
    parts.push(`x ${x}, y ${y}, z ${z} mm`);
  }
  parts.push(value);
  return parts.join(" · ");
}

/** The value under a pixel, with its unit, and the quantity that the file maps it to. */
export function valueText(slice, value, quantity = null) {
  if (Array.isArray(value)) return `RGB ${value.join(", ")}`;
  const text = `${short(value)}${slice.unit ? ` ${slice.unit}` : ""}`;
  return quantity ? `${text} · ${Number(quantity.value.toPrecision(5))} ${quantity.unit}`.trim() : text;
}
