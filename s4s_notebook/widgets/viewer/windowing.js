// Window and level: the file's own, presets, the whole range, by hand; and inversion.
// A choice is "file:0" (the first of the slice's own), "preset:lung", "range" or "custom".

import { short } from "./elements.js";

/** The window in force for a slice under a view; null for colour. */
export function windowOf(view, slice) {
  if (!slice || slice.type === "rgb") return null;
  if (view.window) return view.window;
  const own = view.choice.startsWith("file:") && slice.windows[Number(view.choice.slice(5))];
  return own || slice.windows[0] || slice.whole;
}

/** "C 40  W 400", a table's name, or "colour". */
export function windowText(window) {
  if (!window) return "colour";
  return window.table ? window.label : `C ${short(window.center)}  W ${short(window.width)}`;
}

/** `window` with another center and width, no narrower than its rule allows. */
export function byHand(window, center, width) {
  const rule = window.rule ?? "LINEAR";
  const least = rule === "LINEAR" ? 1 : Number.MIN_VALUE;
  return { center, width: Math.max(width, least), rule, label: "by hand" };
}

/** `window` after a drag by screen pixels: dx widens, dy lifts the level. */
export function dragged(window, whole, dx, dy) {
  const from = window.table ? whole : window;
  const step = Math.max(from.width, whole.width / 100) / 300;
  const round = from.width > 30 ? Math.round : (value) => value;
  return byHand(from, round(from.center + dy * step), round(from.width + dx * step));
}

/** The entries of the list of windows, as setOptions wants them. */
export function entriesFor(slice, presets) {
  if (slice.type === "rgb") return [["file:0", "colour"]];
  const own = slice.windows.map((one, at) => [`file:${at}`, windowName(one)]);
  const named = presets.map(({ name }) => [`preset:${name}`, name]);
  return [
    ...(own.length ? [{ group: "From the file", options: own }] : []),
    ...(named.length ? [{ group: "Presets", options: named }] : []),
    ["range", "whole range"], ["custom", "by hand"]];
}

function windowName(window) {
  if (window.table) return window.label || "VOI LUT";
  const numbers = `${short(window.center)} / ${short(window.width)}`;
  return window.label ? `${window.label} (${numbers})` : numbers;
}

/** What a person does to the window of `viewer` (see panel.js). */
export class Windows {
  #viewer;
  #listed = "";

  constructor(viewer) { this.#viewer = viewer; }

  get #presets() { return this.#viewer.place.series.presets ?? []; }

  /** The window in force for the slice shown; null for colour. */
  get now() { return windowOf(this.#viewer.view, this.#viewer.slice); }

  /** Lists what there is for a slice that has just come on screen. */
  list(slice) {
    const listed = JSON.stringify([this.#viewer.place.series.key, slice.windows, slice.type]);
    if (listed === this.#listed) return;
    this.#listed = listed;
    this.#viewer.bars.listWindows(entriesFor(slice, this.#presets), this.#viewer.view.choice);
  }

  choose(choice) {
    const { view, slice, bars } = this.#viewer;
    if (!slice || choice === "custom") return;
    const preset = this.#presets.find(({ name }) => `preset:${name}` === choice);
    view.choice = choice;
    view.window = preset ? { rule: "LINEAR", ...preset, label: preset.name } : null;
    if (choice === "range") view.window = slice.whole;
    this.#viewer.refresh();
    this.#viewer.announce(`Window ${bars.showChoice(choice)}`);
  }

  chooseNumber(number) {
    const choice = this.#viewer.bars.choices[number];
    if (choice) this.choose(choice);
  }

  set(center, width) {
    const { now } = this;
    if (now && Number.isFinite(center) && Number.isFinite(width)) {
      this.#take(byHand(now, center, width));
    }
  }

  drag(dx, dy) {
    const { now } = this;
    if (now) this.#take(dragged(now, this.#viewer.slice.whole, dx, dy));
  }

  #take(window) {
    Object.assign(this.#viewer.view, { window, choice: "custom" });
    this.#viewer.bars.showChoice("custom");
    this.#viewer.refresh();
    this.#viewer.announce(`Centre ${short(window.center)}, width ${short(window.width)}`);
  }

  invert() {
    const { view, bars } = this.#viewer;
    view.inverted = !view.inverted;
    bars.showInverted(view.inverted);
    this.#viewer.refresh();
    this.#viewer.announce(view.inverted ? "Inverted" : "Not inverted");
  }
}
