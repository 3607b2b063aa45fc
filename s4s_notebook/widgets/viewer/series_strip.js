// The series strip: one small picture a series, chosen by mouse or arrow keys.

import { element, keepKeys } from "./elements.js";
import { Painter, pixelsOf } from "./grayscale.js";

const PLAIN = { slope: 1, intercept: 0, windows: [] };
const AS_IS = { center: 127.5, width: 255, rule: "LINEAR_EXACT" }; // grey level n stays n

export class Strip {
  #choose;
  #thumbnail;
  #cards = new Map(); // key → {node, text, canvas}

  constructor(choose, thumbnail, height) {
    this.#choose = choose;
    this.#thumbnail = thumbnail;
    this.node = element("div", { class: "s4s-strip", role: "listbox", "aria-label": "Series",
      style: `height:${height}px`, hidden: true, onkeydown: (event) => this.#keydown(event) });
  }

  /** Adds cards for new series; cards that are there keep their picture. */
  fill(series) {
    this.node.hidden = series.length < 2;
    for (const one of series) {
      const card = this.#cards.get(one.key) ?? this.#add(one);
      card.title.textContent = one.title;
      [card.detail.textContent] = one.detail.split("\n");
      card.node.title = `${one.title}\n${one.detail}`;
      card.count.textContent = one.planes[0].ids.length === 1 ? "1 image"
        : `${one.planes[0].ids.length} images`;
    }
    this.node.append(...series.map(({ key }) => this.#cards.get(key).node));
  }

  select(key) {
    for (const [name, { node }] of this.#cards) {
      node.setAttribute("aria-selected", name === key ? "true" : "false");
      node.tabIndex = name === key ? 0 : -1;
    }
    if (!this.node.hidden) this.#cards.get(key)?.node.scrollIntoView({ block: "nearest" });
  }

  #add(series) {
    const canvas = element("canvas", { "aria-hidden": "true", width: 1, height: 1 });
    const title = element("div", {});
    const [detail, count] = [element("div", {}), element("div", { class: "s4s-soft" })];
    const node = element("div", { class: "s4s-card", role: "option", tabindex: "-1",
      onclick: () => this.#choose(series.key) }, canvas, title, detail, count);
    keepKeys(node);
    const card = { node, title, detail, count };
    this.#cards.set(series.key, card);
    this.#thumbnail(series.key).then(
      (picture) => picture && draw(canvas, picture),
      () => node.classList.add("s4s-blank")); // a card without a picture still names its series
    return card;
  }

  #keydown(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const nodes = [...this.node.children];
    const at = nodes.indexOf(event.target);
    if (!step || at < 0) return;
    const next = nodes[(at + step + nodes.length) % nodes.length];
    next.click();
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}

function draw(canvas, picture) {
  canvas.width = picture.columns;
  canvas.height = picture.rows;
  const context = canvas.getContext("2d", { alpha: false });
  const image = context.createImageData(picture.columns, picture.rows);
  const slice = { ...PLAIN, ...picture, pixels: pixelsOf(picture, picture.pixels) };
  new Painter().paint(slice, AS_IS, false, new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
}
