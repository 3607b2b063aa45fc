// The viewer: what is shown (series, plane, slice, window, zoom) and the controls around it.
// It knows no kernel. A source is {study(have), slice(series, plane, id), thumbnail(series),
// names(series)}, each giving a Promise, and may say in `slow` why an answer can take long:
//   study      {version, growing, note, series: [{key, title, modality, detail, rate, presets,
//              planes: [{key, name, ids}]}]}, or {unchanged: true} when `have` is its version
//   slice      {rows, columns, type, pixels, slope, intercept, windows, …}: see viewer_grey.js
//   thumbnail  {rows, columns, type: "uint8" or "rgb", pixels}
//   names      [[label, text], …]

import { button, element, keepKeys, setIcon, setOptions, setPressed, short } from "./viewer_parts.js";
import { Cine } from "./viewer_cine.js";
import { patientPoint, panForZoom } from "./viewer_geometry.js";
import { listenToPointer } from "./viewer_gestures.js";
import { valueOf } from "./viewer_grey.js";
import { KEYS, press } from "./viewer_keys.js";
import { Slices, nearestFirst } from "./viewer_slices.js";
import { Stage, probeText, valueText } from "./viewer_stage.js";
import { Strip } from "./viewer_strip.js";

const TOOLS = [["window", "Window and level (w)"], ["pan", "Pan (g)"], ["zoom", "Zoom (z)"],
  ["length", "Measure a length (m)"], ["probe", "Probe (p)"]];
const POLL = 400; // ms between questions while a download still runs
const EAGER = 100; // and before its first slice
const PATIENCE = 4000; // ms after which a slice that has not come is explained
const fresh = () => ({ id: null, index: 0, choice: "file:0", window: null, inverted: false,
  zoom: 1, pan: [0, 0], lines: new Map() });

export class Viewer {
  #source;
  #slices;
  #views = new Map();
  #drawn = null;
  #frame = 0;
  #timers = new Set();
  #stopped = false;
  #forward = true;
  // Steps by what is due; waits for a frame that is still on its way.
  #cine = new Cine((due) => {
    if (!this.slice) return false;
    this.go((this.view.index + Math.min(due, this.count)) % this.count);
    return true;
  });
  #names = null;

  constructor(source, { height = 480, limit } = {}) {
    this.#source = source;
    this.#slices = new Slices((key) => source.slice(...key.split("/")),
      { limit, arrived: () => this.refresh() });
    this.study = { version: null, growing: true, series: [] };
    this.series = null;
    this.plane = null;
    this.tool = "window";
    this.cursor = null;
    this.draft = null;
    this.stage = new Stage(height);
    this.strip = new Strip((key) => this.show(key), (key) => source.thumbnail(key), height);
    this.node = element("section", { class: "s4s-viewer", "aria-label": "DICOM viewer",
      "data-jp-suppress-context-menu": "true" },
    this.#bar(), element("div", { class: "s4s-body" }, this.strip.node, this.stage.node),
    this.#foot(), this.#line(), this.#help());
    keepKeys(this.node, ...this.node.querySelectorAll("[tabindex], button, input, select"));
    this.node.viewer = this; // for tests, and for pages that drive it
    this.#listen();
    this.use("window");
    this.stage.say("Waiting for the first slice …");
    this.#pause(PATIENCE).then(() => { if (!this.#heard && source.slow) this.quiet(source.slow); });
  }

  #heard = false;

  /**
   * With a text: nothing but this line, as long as nobody answers; the still picture that a
   * notebook keeps beside us is then shown. Without: the viewer again.
   */
  quiet(text) {
    if (!text) this.#heard = true;
    if (!text && !this.node.classList.contains("s4s-quiet")) return;
    this.node.classList.toggle("s4s-quiet", Boolean(text));
    this.#note.textContent = text;
  }

  get view() {
    const key = this.#group();
    if (!this.#views.has(key)) this.#views.set(key, fresh());
    return this.#views.get(key);
  }

  get slice() { return this.#slices.peek(this.#key(this.view.index)); }
  get slices() { return this.#slices; }
  get count() { return this.plane?.ids.length ?? 0; }
  get lines() {
    const { lines, id } = this.view;
    if (!lines.has(id)) lines.set(id, []);
    return lines.get(id);
  }

  #group() { return `${this.series?.key}/${this.plane?.key}`; }
  #key(index) { return `${this.#group()}/${this.plane?.ids[index]}`; }

  // ---- the study: asked for once, and again while it still grows

  async start() {
    while (!this.#stopped) {
      try {
        this.setStudy(await this.#source.study(this.study.version));
      } catch (error) {
        this.#warn(error.message);
      }
      if (!this.study.growing) return;
      await this.#pause(this.study.series.length ? POLL : EAGER);
    }
  }

  stop() {
    this.#stopped = true;
    this.#observer.disconnect();
    this.#visible.disconnect();
    cancelAnimationFrame(this.#frame);
    this.#cine.stop();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#slices.clear();
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => { this.#timers.delete(timer); resolve(); }, milliseconds);
      this.#timers.add(timer);
    });
  }

  setStudy(study) {
    this.quiet("");
    if (study.unchanged) return;
    this.study = study;
    this.#note.textContent = study.note ?? "";
    if (!study.series.length) {
      if (!study.growing) this.stage.say("This study holds no image.");
      return;
    }
    const series = study.series.find(({ key }) => key === this.series?.key) ?? study.series[0];
    this.#select(series, this.plane?.key);
    this.strip.fill(study.series); // asks for small pictures: after the large one
    this.strip.select(series.key);
  }

  // ---- where we are: series, plane, slice

  /** Shows a series by its key. */
  show(key) {
    const series = this.study.series.find((one) => one.key === key);
    if (series && series !== this.series) {
      this.pause();
      this.#select(series, null);
      this.announce(`Series ${series.title}`);
    }
  }

  nextSeries(by) {
    const { series } = this.study;
    const at = series.indexOf(this.series);
    if (series.length > 1) this.show(series[(at + by + series.length) % series.length].key);
  }

  #select(series, planeKey, kept = {}) {
    const before = this.#group();
    const changed = series.key !== this.series?.key;
    this.series = series;
    this.plane = series.planes.find(({ key }) => key === planeKey) ?? series.planes[0];
    setOptions(this.#planes, series.planes.map(({ key, name }) => [key, name]));
    this.#planes.value = this.plane.key;
    this.#planes.parentNode.hidden = series.planes.length < 2;
    this.strip.select(series.key);
    Object.assign(this.view, kept);
    this.#choices.value = this.view.choice;
    setPressed(this.#invertButton, this.view.inverted);
    if (before !== this.#group()) this.probe(null);
    if (changed) {
      this.#names = null;
      if (!this.hideNames) this.#askNames();
    }
    this.#arrivedAt();
  }

  /** Shows another plane of the series, at the same window. */
  setPlane(key) {
    this.pause();
    const { choice, window, inverted } = this.view;
    this.#select(this.series, key, { choice, window, inverted });
    this.announce(`${this.plane.name} plane`);
  }

  nextPlane() {
    const { planes } = this.series ?? { planes: [] };
    if (planes.length > 1) this.setPlane(planes[(planes.indexOf(this.plane) + 1) % planes.length].key);
  }

  /** New slices may have come in before ours: stay with the slice, not with its number. */
  #arrivedAt() {
    const { view } = this;
    // A cut through the middle, since the first holds little but air.
    const first = this.plane.key === "stack" ? 0 : Math.floor(this.count / 2);
    const found = view.id === null ? first : this.plane.ids.indexOf(view.id);
    this.go(found >= 0 ? found : view.index);
  }

  step(by) { this.go(this.view.index + by); }

  go(index) {
    if (!this.count) return;
    const { view } = this;
    const to = Math.min(Math.max(index, 0), this.count - 1);
    if (to !== view.index) this.#forward = to > view.index;
    view.index = to;
    view.id = this.plane.ids[to];
    this.#slices.get(this.#key(to)).catch(() => this.refresh());
    if (!this.#everything()) {
      const near = nearestFirst(this.count, to, this.#forward, this.#slices.room);
      this.#slices.wish(near.map((one) => this.#key(one)));
    }
    this.refresh();
    this.announce(`Slice ${to + 1} of ${this.count}`);
  }

  #everything() { return this.#slices.countOf(this.#group()) >= this.count; }

  // ---- drawing, once per screen frame at most

  refresh() {
    if (this.#frame || this.#stopped) return;
    this.#frame = requestAnimationFrame(() => { this.#frame = 0; this.draw(); });
  }

  /** Draws what the state says, now. */
  draw() {
    if (!this.plane) return;
    const { view, slice } = this;
    this.#drawFoot();
    if (!slice) {
      const error = this.#slices.errorOf(this.#key(view.index));
      this.#missingSince ||= performance.now();
      this.stage.say(error ? error.message : this.#loading());
      this.canvasLabel();
      return;
    }
    const window = this.window();
    this.#missingSince = 0;
    this.stage.say(null);
    this.stage.paint(slice, window, view.inverted);
    this.stage.arrange(view.zoom, view.pan);
    this.firstPainted ||= performance.now();
    this.#drawMarks();
    if (this.#drawn !== slice) this.#drawnNew(slice);
    this.#drawWindow(window);
    this.#drawCorners(window);
  }

  #missingSince = 0;

  #loading() {
    const late = performance.now() - this.#missingSince >= PATIENCE;
    if (!late) this.#pause(PATIENCE).then(() => this.refresh());
    return late && this.#source.slow ? `Loading …\n${this.#source.slow}` : "Loading …";
  }

  #drawnNew(slice) {
    const lists = (one) => JSON.stringify([this.series.key, one?.windows, one?.type === "rgb"]);
    if (lists(slice) !== this.#listed) this.#listWindows(slice);
    this.#listed = lists(slice);
    this.#drawn = slice;
    this.stage.letters();
    if (this.#probed) this.probe(this.#probed);
  }
  #listed = "";

  #drawMarks() {
    const { view } = this;
    const lines = view.lines.get(view.id) ?? [];
    this.stage.mark(this.draft ? [...lines, this.draft] : lines, this.cursor);
  }

  #drawFoot() {
    const { view } = this;
    const last = Math.max(this.count - 1, 0);
    const where = `${view.index + 1} / ${this.count}`;
    if (this.#count.textContent !== where) {
      this.#slider.max = last;
      this.#slider.value = view.index;
      this.#slider.setAttribute("aria-valuetext", `Slice ${view.index + 1} of ${this.count}`);
      this.#slider.disabled = this.#playButton.disabled = last === 0;
      this.#count.textContent = where;
    }
    const part = this.#everything() ? 0 : this.#slices.countOf(this.#group()) / this.count;
    if (part === this.#part) return;
    this.#part = part;
    this.#loaded.style.transform = `scaleX(${part})`;
  }

  #part = 0;

  #drawWindow(window) {
    const focused = document.activeElement;
    if (focused === this.#center || focused === this.#width) return;
    for (const [input, number] of [[this.#center, window?.center], [this.#width, window?.width]]) {
      const text = Number.isFinite(number) ? String(Number(number.toPrecision(6))) : "";
      if (input.value !== text) input.value = text;
    }
  }

  #drawCorners(window) {
    const { series, view, slice, stage } = this;
    const names = this.hideNames ? [] : (this.#names ?? []).map(([label, text]) => `${label} ${text}`);
    stage.corner("top-left", [series.title, series.detail, ...names]);
    stage.corner("top-right", [this.plane.key === "stack" ? "" : this.plane.name, slice.label]);
    const windowText = slice.type === "rgb" ? "colour"
      : window.table ? window.label : `C ${short(window.center)}  W ${short(window.width)}`;
    stage.corner("bottom-left", [`${windowText}${view.inverted ? "  inverted" : ""}`,
      stage.placed ? `zoom ${Math.round(stage.placed.scaleX * 100)} %` : ""]);
    stage.corner("bottom-right", [`${view.index + 1} / ${this.count}`,
      this.#cine.rate ? `${short(this.#cine.rate)} a second` : ""]);
    this.canvasLabel();
  }

  canvasLabel() {
    const { view, series } = this;
    this.stage.canvas.setAttribute("aria-label",
      `${series.title}, ${this.plane.name}, slice ${view.index + 1} of ${this.count}`);
  }

  /** Says it to a screen reader, once things have come to rest. */
  announce(text) {
    clearTimeout(this.#aloudTimer);
    this.#timers.delete(this.#aloudTimer);
    this.#aloudTimer = setTimeout(() => { this.#aloud.textContent = text; }, 300);
    this.#timers.add(this.#aloudTimer);
  }
  #aloudTimer = 0;

  #warn(text) {
    this.#problem.textContent = text;
    this.#problem.hidden = !text;
  }

  // ---- window and level

  /** The window in force for the slice shown; null for colour. */
  window() {
    const { view, slice } = this;
    if (!slice || slice.type === "rgb") return null;
    if (view.window) return view.window;
    const own = view.choice.startsWith("file:") && slice.windows[Number(view.choice.slice(5))];
    return own || slice.windows[0] || this.#fullRange(slice);
  }

  #fullRange(slice) {
    return slice.whole;
  }

  #listWindows(slice) {
    const colour = slice.type === "rgb";
    for (const node of [this.#choices, this.#center, this.#width]) node.disabled = colour;
    const own = slice.windows.map((one, at) => [`file:${at}`, windowName(one)]);
    const presets = (this.series.presets ?? []).map(({ name }) => [`preset:${name}`, name]);
    setOptions(this.#choices, colour ? [["file:0", "colour"]] : [
      ...(own.length ? [{ group: "From the file", options: own }] : []),
      ...(presets.length ? [{ group: "Presets", options: presets }] : []),
      ["range", "whole range"], ["custom", "by hand"]]);
    this.#choices.value = this.view.choice;
  }

  /** "file:0", "preset:lung", "range", as the list of windows has them. */
  choose(choice) {
    const { view, slice } = this;
    if (!slice || choice === "custom") return;
    const preset = choice.startsWith("preset:")
      && this.series.presets.find(({ name }) => `preset:${name}` === choice);
    view.choice = choice;
    view.window = preset ? { rule: "LINEAR", ...preset, label: preset.name } : null;
    if (choice === "range") view.window = this.#fullRange(slice);
    this.#choices.value = choice;
    this.refresh();
    this.announce(`Window ${this.#choices.selectedOptions[0]?.textContent ?? choice}`);
  }

  chooseNumber(number) {
    const entries = [...this.#choices.options].filter(({ value }) => value !== "custom");
    if (entries[number]) this.choose(entries[number].value);
  }

  setWindow(center, width) {
    const now = this.window();
    if (!now || !Number.isFinite(center) || !Number.isFinite(width)) return;
    const rule = now.rule ?? "LINEAR";
    const least = rule === "LINEAR" ? 1 : Number.MIN_VALUE;
    this.view.window = { center, width: Math.max(width, least), rule, label: "by hand" };
    this.view.choice = "custom";
    this.#choices.value = "custom";
    this.refresh();
    this.announce(`Centre ${short(center)}, width ${short(this.view.window.width)}`);
  }

  /** Moves the window by hand: dx widens, dy lifts the level; one unit is a screen pixel. */
  moveWindow(dx, dy) {
    const now = this.window();
    const { slice } = this;
    if (!now) return;
    const from = now.table ? this.#fullRange(slice) : now;
    const step = Math.max(from.width, this.#fullRange(slice).width / 100) / 300;
    const whole = from.width > 30 ? Math.round : (value) => value;
    this.setWindow(whole(from.center + dy * step), whole(from.width + dx * step));
  }

  invert() {
    this.view.inverted = !this.view.inverted;
    setPressed(this.#invertButton, this.view.inverted);
    this.refresh();
    this.announce(this.view.inverted ? "Inverted" : "Not inverted");
  }

  // ---- zoom and pan

  zoomBy(factor, x = this.stage.size.width / 2, y = this.stage.size.height / 2) {
    const { view, slice } = this;
    if (!slice) return;
    const zoom = Math.min(Math.max(view.zoom * factor, 0.1), 64);
    view.pan = panForZoom(slice, this.stage.size, view, zoom, x, y);
    view.zoom = zoom;
    this.refresh();
    this.announce(`Zoom ${Math.round(zoom * 100)} percent of fit`);
  }

  panBy(dx, dy) {
    const { view } = this;
    view.pan = [view.pan[0] + dx, view.pan[1] + dy];
    this.refresh();
  }

  fit() {
    this.view.zoom = 1;
    this.view.pan = [0, 0];
    this.refresh();
    this.announce("Whole picture");
  }

  reset() {
    const { id, index } = this.view;
    this.#views.set(this.#group(), { ...fresh(), id, index });
    this.cursor = null;
    this.draft = null;
    setPressed(this.#invertButton, false);
    this.#choices.value = "file:0";
    this.refresh();
    this.announce("Reset");
  }

  // ---- tools: probe, length

  use(tool) {
    this.tool = tool;
    this.cursor = null;
    this.draft = null;
    for (const [name, node] of Object.entries(this.#tools)) setPressed(node, name === tool);
    this.stage.node.dataset.tool = tool;
    this.refresh();
    if (this.plane) this.announce(TOOLS.find(([name]) => name === tool)[1]);
  }

  arrow(dx, dy, by) {
    if (this.tool === "probe" || this.tool === "length") this.moveCursor(dx * by, dy * by);
    else if (by > 1) this.moveWindow(dx * by, -dy * by);
    else if (this.tool === "pan") this.panBy(-dx * 20, -dy * 20);
    else this.step(dx + dy);
  }

  moveCursor(dx, dy) {
    const { slice } = this;
    if (!slice) return;
    const [x, y] = this.cursor ?? [Math.floor(slice.columns / 2), Math.floor(slice.rows / 2)];
    const moved = this.cursor ? [x + dx, y + dy] : [x, y];
    this.cursor = [Math.min(Math.max(moved[0], 0), slice.columns - 1),
      Math.min(Math.max(moved[1], 0), slice.rows - 1)];
    if (this.draft) this.draft[1] = this.cursor;
    this.refresh();
    this.announce(this.probe(this.cursor));
  }

  /** Enter: the first end, then the second, of a length. */
  enter() {
    if (this.tool !== "length" && this.tool !== "probe") return;
    if (!this.cursor || this.tool === "probe") this.moveCursor(0, 0);
    else if (this.draft) this.endLine();
    else this.draft = [this.cursor, this.cursor];
  }

  endLine() {
    const [from, to] = this.draft ?? [];
    this.draft = null;
    if (from && Math.hypot(to[0] - from[0], to[1] - from[1]) >= 0.5) {
      this.lines.push([from, to]);
      const text = this.stage.marks.querySelector("g:last-of-type text")?.textContent;
      this.announce(`Length ${text ?? ""}`);
    }
    this.refresh();
  }

  removeLine() {
    this.lines.pop();
    this.refresh();
  }

  #probed = null;

  /** Shows, and gives, what is at an image point: pixel, mm, value with unit; null: nowhere. */
  probe(point) {
    const { slice } = this;
    this.#probed = point;
    const pixel = slice && point && this.stage.pixelAt(point);
    const text = pixel ? probeText(slice, pixel, patientPoint(slice, ...pixel),
      valueText(slice, valueAt(slice, pixel))) : "";
    this.#readout.textContent = text;
    return text;
  }

  // ---- cine

  togglePlay() { if (this.#cine.rate) this.pause(); else this.play(); }

  play() {
    if (this.count < 2 || this.#cine.rate) return;
    this.#cine.start(this.series.rate || 10);
    setIcon(this.#playButton, "pause");
    setPressed(this.#playButton, true);
  }

  pause() {
    if (!this.#cine.rate) return;
    this.#cine.stop();
    setIcon(this.#playButton, "play");
    setPressed(this.#playButton, false);
    this.refresh();
  }

  speed(factor) {
    this.series.rate = Math.min(Math.max((this.series.rate || 10) * factor, 0.5), 60);
    if (this.#cine.rate) this.#cine.rate = this.series.rate;
    this.refresh();
  }

  // ---- names, help

  firstPainted = 0; // ms, by performance.now(): for benchmarks
  hideNames = true;

  toggleNames() {
    this.hideNames = !this.hideNames;
    setPressed(this.#nameButton, this.hideNames);
    if (this.hideNames) this.#names = null;
    else this.#askNames();
    this.refresh();
    this.announce(this.hideNames ? "Names hidden" : "Names shown");
  }

  async #askNames() {
    const { series } = this;
    try {
      const names = await this.#source.names(series.key);
      if (this.hideNames || series.key !== this.series.key) return;
      this.#names = names;
    } catch (error) {
      this.#warn(error.message);
    }
    this.refresh();
  }

  toggleHelp() {
    this.#helpPanel.hidden = !this.#helpPanel.hidden;
    setPressed(this.#helpButton, !this.#helpPanel.hidden);
    if (!this.#helpPanel.hidden) this.announce(this.#helpPanel.textContent);
  }

  escape() {
    if (!this.#helpPanel.hidden) this.toggleHelp();
    else this.use("window");
  }

  // ---- the controls

  #tools = {};
  #choices;
  #center;
  #width;
  #planes;
  #invertButton;
  #nameButton;
  #helpButton;
  #helpPanel;
  #playButton;
  #slider;
  #loaded;
  #count;
  #readout;
  #note;
  #problem;
  #aloud;
  #observer;
  #visible;

  #bar() {
    for (const [name, title] of TOOLS) this.#tools[name] = button(title, name, () => this.use(name));
    this.#choices = element("select", { "aria-label": "Window",
      onchange: () => this.choose(this.#choices.value) });
    const typed = () => this.setWindow(Number(this.#center.value), Number(this.#width.value));
    const number = (label) => element("input", { type: "number", step: "any", "aria-label": label,
      onchange: typed });
    this.#center = number("Window centre");
    this.#width = number("Window width");
    this.#planes = element("select", { onchange: () => this.setPlane(this.#planes.value) });
    this.#invertButton = button("Invert (i)", "invert", () => this.invert(), { "aria-pressed": "false" });
    this.#nameButton = button("Hide names (n)", "names", () => this.toggleNames(),
      { "aria-pressed": "true" });
    this.#helpButton = button("Keys (?)", "help", () => this.toggleHelp(), { "aria-pressed": "false" });
    const group = (label, ...nodes) => element("div", { class: "s4s-group", role: "group",
      "aria-label": label }, ...nodes);
    return element("div", { class: "s4s-bar", role: "toolbar", "aria-label": "Viewer" },
      group("Tools", ...Object.values(this.#tools)),
      group("Window", this.#choices, element("label", {}, "C", this.#center),
        element("label", {}, "W", this.#width), this.#invertButton),
      element("label", { hidden: true }, "Plane", this.#planes),
      group("View", button("Fit (f)", "fit", () => this.fit()),
        button("Reset (r)", "reset", () => this.reset())),
      element("div", { class: "s4s-grow" }), group("Names and help", this.#nameButton, this.#helpButton));
  }

  #foot() {
    this.#playButton = button("Play (c)", "play", () => this.togglePlay(), { "aria-pressed": "false" });
    this.#slider = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Slice",
      oninput: () => this.go(Number(this.#slider.value)) });
    this.#loaded = element("div", { class: "s4s-loaded" });
    this.#count = element("div", { class: "s4s-count" });
    return element("div", { class: "s4s-foot" }, this.#playButton,
      element("div", { class: "s4s-slide" }, this.#slider, this.#loaded), this.#count);
  }

  #line() {
    this.#readout = element("span", { class: "s4s-readout" });
    this.#note = element("span", { class: "s4s-note" });
    this.#problem = element("span", { class: "s4s-bad", role: "alert", hidden: true });
    this.#aloud = element("div", { class: "s4s-aloud", role: "status", "aria-live": "polite" });
    return element("div", { class: "s4s-line" }, this.#readout, this.#problem, this.#note, this.#aloud);
  }

  #help() {
    const rows = KEYS.filter(({ shown }) => shown).flatMap(({ shown, does }) => [
      element("dt", {}, shown), element("dd", {}, does)]);
    this.#helpPanel = element("div", { class: "s4s-help", role: "group", "aria-label": "Keys",
      hidden: true }, element("dl", {}, ...rows));
    return this.#helpPanel;
  }

  #listen() {
    const { node } = this.stage;
    this.node.addEventListener("keydown", (event) => this.#keydown(event));
    listenToPointer(this);
    this.#observer = new ResizeObserver(() => { this.stage.resized(); this.draw(); });
    this.#observer.observe(node);
    // A notebook takes cells that are scrolled away out of the page and puts them back.
    this.#visible = new IntersectionObserver(() => this.refresh());
    this.#visible.observe(node);
  }

  #keydown(event) {
    const inControl = event.target.closest("input, select, button");
    if (inControl && !["Escape", "?"].includes(event.key)) return;
    if (press(this, event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }
}

function windowName(window) {
  if (window.table) return window.label || "VOI LUT";
  const numbers = `${short(window.center)} / ${short(window.width)}`;
  return window.label ? `${window.label} (${numbers})` : numbers;
}

function valueAt(slice, [column, row]) {
  const at = row * slice.columns + column;
  return slice.type === "rgb" ? [...slice.pixels.slice(at * 3, at * 3 + 3)]
    : valueOf(slice, slice.pixels[at]);
}
