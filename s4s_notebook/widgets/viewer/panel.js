// The viewer: it asks a source for a study and its slices and puts together the parts that
// show them. It knows no kernel. A source is {study(have), slice(series, plane, id),
// thumbnail(series), names(series)}, each giving a Promise, and may say in `slow` why an answer
// can take long:
//   study      {version, growing, note, series: [{key, title, modality, detail, rate, presets,
//              planes: [{key, name, ids}]}]}, or {unchanged: true} when `have` is its version
//   slice      {rows, columns, type, pixels, slope, intercept, windows, …}: see grayscale.js
//   thumbnail  {rows, columns, type: "uint8" or "rgb", pixels}
//   names      [[label, text], …]

import { element, keepKeys, short } from "./elements.js";
import { Bars } from "./toolbars.js";
import { Camera } from "./zoom_pan.js";
import { Cine } from "./cine.js";
import { Feed } from "./study_updates.js";
import { listenToPointer } from "./pointer.js";
import { ownKey, press } from "./keyboard.js";
import { Names } from "./patient_names.js";
import { Place } from "./position.js";
import { Slices, nearestFirst } from "./slice_cache.js";
import { Stage } from "./viewport.js";
import { Strip } from "./series_strip.js";
import { Tools } from "./tools.js";
import { Windows, windowText } from "./windowing.js";

export class Viewer {
  #stopped = false;
  #frame = 0;
  #drawn = null; // the slice on screen
  #observers;
  firstPainted = 0; // ms, by performance.now(): for benchmarks

  constructor(source, { height = 480, limit } = {}) {
    this.slices = new Slices((key) => source.slice(...key.split("/")),
      { limit, arrived: () => this.refresh() });
    this.place = new Place();
    this.stage = new Stage(height);
    this.strip = new Strip((key) => this.show(key), (key) => source.thumbnail(key), height);
    this.camera = new Camera(this);
    this.cine = new Cine(this);
    this.names = new Names(this, source);
    this.tools = new Tools(this);
    this.windows = new Windows(this);
    this.bars = new Bars(this);
    this.node = this.#page();
    this.feed = new Feed(this, source);
    this.#listen();
    this.tools.use("window");
    this.stage.say("Waiting for the first slice …");
  }

  get series() { return this.place.series; }
  get plane() { return this.place.plane; }
  get study() { return this.place.study; }
  get view() { return this.place.view; }
  get count() { return this.place.count; }
  /** The slice to be shown, null while it is not here. */
  get slice() { return this.slices.peek(this.place.key()); }

  #page() {
    const { bars, stage, strip } = this;
    const node = element("section", { class: "s4s-viewer", "aria-label": "DICOM viewer",
      "data-jp-suppress-context-menu": "true" },
    bars.top, element("div", { class: "s4s-body" }, strip.node, stage.node),
    bars.foot, bars.line, bars.help);
    keepKeys(node, ...node.querySelectorAll("[tabindex], button, input, select"));
    node.viewer = this; // for tests, and for pages that drive it
    return node;
  }

  /** Asks for the study, and goes on asking while it grows. */
  start() { return this.feed.start(); }

  stop() {
    this.#stopped = true;
    for (const one of this.#observers) one.disconnect();
    cancelAnimationFrame(this.#frame);
    this.cine.pause();
    this.bars.stop();
    this.feed.stop();
    this.slices.clear();
  }

  /** With a text: this line alone; without: the viewer again. */
  quiet(text) { this.feed.quiet(text); }

  setStudy(study) {
    this.quiet("");
    if (study.unchanged) return;
    this.place.study = study;
    this.bars.note(study.note ?? "");
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
    if (!series || series === this.series) return;
    this.cine.pause();
    this.#select(series, null);
    this.announce(`Series ${series.title}`);
  }

  nextSeries(by) {
    const series = this.place.seriesBy(by);
    if (series) this.show(series.key);
  }

  /** Shows another plane of the series, at the same window. */
  setPlane(key) {
    this.cine.pause();
    const { choice, window, inverted } = this.view;
    this.#select(this.series, key, { choice, window, inverted });
    this.announce(`${this.plane.name} plane`);
  }

  nextPlane() {
    const plane = this.place.nextPlane;
    if (plane) this.setPlane(plane.key);
  }

  #select(series, planeKey, kept = {}) {
    const { bars, place } = this;
    const [group, before] = [place.group, this.series?.key];
    place.select(series, planeKey, kept);
    this.strip.select(series.key);
    bars.showPlanes(series.planes, this.plane.key);
    bars.showChoice(this.view.choice);
    bars.showInverted(this.view.inverted);
    if (group !== place.group) this.tools.leave();
    if (before !== series.key) this.names.ofSeries();
    this.go(place.lastIndex);
  }

  step(by) { this.go(this.view.index + by); }

  go(index) {
    if (!this.count) return;
    const { place, slices } = this;
    const to = place.go(index);
    slices.get(place.key()).catch(() => this.refresh());
    if (this.#part() < 1) {
      const near = nearestFirst(this.count, to, place.forward, slices.room);
      slices.wish(near.map((one) => place.key(one)));
    }
    this.refresh();
    this.announce(`Slice ${to + 1} of ${this.count}`);
  }

  /** How much of the plane is here, from 0 to 1. */
  #part() { return Math.min(this.slices.countOf(this.place.group) / this.count, 1); }

  reset() {
    this.place.reset();
    this.tools.drop();
    this.bars.showInverted(false);
    this.bars.showChoice(this.view.choice);
    this.refresh();
    this.announce("Reset");
  }

  // ---- drawing, once per screen frame at most

  refresh() {
    if (this.#frame || this.#stopped) return;
    this.#frame = requestAnimationFrame(() => { this.#frame = 0; this.draw(); });
  }

  /** Draws what the state says, now. */
  draw() {
    if (!this.plane) return;
    const { view, slice, stage } = this;
    this.bars.showPlace(view.index, this.count, this.#part());
    stage.label(`${this.series.title}, ${this.plane.name}, slice ${view.index + 1} of ${this.count}`);
    if (!slice) {
      stage.say(this.slices.errorOf(this.place.key())?.message ?? this.feed.waiting());
      return;
    }
    const window = this.windows.now;
    this.feed.arrived();
    stage.say(null);
    stage.paint(slice, window, view.inverted);
    stage.arrange(view.zoom, view.pan);
    this.firstPainted ||= performance.now();
    this.tools.mark();
    if (this.#drawn !== slice) {
      this.#drawn = slice;
      this.windows.list(slice);
      this.tools.probeAgain();
      stage.letters();
    }
    this.bars.showWindow(window);
    this.#drawCorners(window);
  }

  #drawCorners(window) {
    const { series, plane, view, slice, stage, cine, names } = this;
    stage.corner("top-left", [series.title, series.detail, ...names.lines]);
    stage.corner("top-right", [plane.key === "stack" ? "" : plane.name, slice.label]);
    stage.corner("bottom-left", [`${windowText(window)}${view.inverted ? "  inverted" : ""}`,
      stage.placed ? `zoom ${Math.round(stage.placed.scaleX * 100)} %` : ""]);
    stage.corner("bottom-right", [`${view.index + 1} / ${this.count}`,
      cine.rate ? `${short(cine.rate)} a second` : ""]);
  }

  announce(text) { this.bars.announce(text); }

  // ---- listening

  #listen() {
    this.node.addEventListener("keydown", (event) => this.#keydown(event));
    listenToPointer(this);
    const sized = new ResizeObserver(() => { this.stage.resized(); this.draw(); });
    // A notebook takes cells that are scrolled away out of the page and puts them back.
    const visible = new IntersectionObserver(() => this.refresh());
    this.#observers = [sized, visible];
    for (const one of this.#observers) one.observe(this.stage.node);
  }

  #keydown(event) {
    if (!ownKey(event) && press(this, event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  /** Escape: closes the list of keys, or takes the window tool. */
  escape() {
    if (!this.bars.help.hidden) this.bars.toggleHelp();
    else this.tools.use("window");
  }
}
