// The controls around the picture: tools and window above, slider below, a line of text. They
// call the viewer's parts (see panel.js) and show what these tell them.

import { button, element, setIcon, setOptions, setPressed } from "./elements.js";
import { KEYS } from "./keyboard.js";
import { TOOLS } from "./tools.js";

const REST = 300; // ms without another word before something is said aloud

export class Bars {
  #viewer;
  #tools = {};
  #choices;
  #center;
  #width;
  #planes;
  #invert;
  #names;
  #help;
  #play;
  #slider;
  #loaded;
  #count;
  #readout;
  #note;
  #problem;
  #aloud;
  #aloudTimer = 0;
  #part = 0;

  constructor(viewer) {
    this.#viewer = viewer;
    this.help = this.#helpPanel();
    this.top = this.#top();
    this.foot = this.#foot();
    this.line = this.#line();
  }

  stop() { clearTimeout(this.#aloudTimer); }

  // ---- above: tools, window, planes, the rest

  #top() {
    const { tools, windows, camera, names } = this.#viewer;
    for (const [name, title] of TOOLS) this.#tools[name] = button(title, name, () => tools.use(name));
    this.#choices = element("select", { "aria-label": "Window",
      onchange: () => windows.choose(this.#choices.value) });
    const typed = () => windows.set(Number(this.#center.value), Number(this.#width.value));
    const number = (label) => element("input", { type: "number", step: "any", "aria-label": label,
      onchange: typed, onkeydown: ({ key }) => { if (key === "Enter") typed(); } });
    this.#center = number("Window centre");
    this.#width = number("Window width");
    this.#planes = element("select", { onchange: () => this.#viewer.setPlane(this.#planes.value) });
    const toggle = (name, iconName, act, pressed = "false") => button(name, iconName, act,
      { "aria-pressed": pressed });
    this.#invert = toggle("Invert (i)", "invert", () => windows.invert());
    this.#names = toggle("Hide names (n)", "names", () => names.toggle(), "true");
    this.#help = toggle("Keys (?)", "help", () => this.toggleHelp());
    const group = (label, ...nodes) => element("div", { class: "s4s-group", role: "group",
      "aria-label": label }, ...nodes);
    return element("div", { class: "s4s-bar", role: "group", "aria-label": "Viewer" },
      group("Tools", ...Object.values(this.#tools)),
      group("Window", this.#choices, element("label", {}, "C", this.#center),
        element("label", {}, "W", this.#width), this.#invert),
      element("label", { hidden: true }, "Plane", this.#planes),
      group("View", button("Fit (f)", "fit", () => camera.fit()),
        button("Reset (r)", "reset", () => this.#viewer.reset())),
      element("div", { class: "s4s-grow" }), group("Names and help", this.#names, this.#help));
  }

  showTool(name) {
    for (const [one, node] of Object.entries(this.#tools)) setPressed(node, one === name);
  }

  /** Names of the choices by number, as the keys 0 to 9 have them. */
  get choices() {
    return [...this.#choices.options].map(({ value }) => value).filter((one) => one !== "custom");
  }

  listWindows(entries, choice) {
    setOptions(this.#choices, entries);
    this.showChoice(choice);
  }

  /** Shows the choice in the list, and gives its words. */
  showChoice(choice) {
    this.#choices.value = choice;
    if (!this.#choices.value) this.#choices.value = "range"; // what a file without windows has
    return this.#choices.selectedOptions[0]?.textContent ?? choice;
  }

  /** Center and width; null for colour. What somebody is typing is left alone. */
  showWindow(window) {
    const numbers = [[this.#center, window?.center], [this.#width, window?.width]];
    this.#choices.disabled = !window;
    for (const [input, number] of numbers) {
      input.disabled = !window;
      const text = Number.isFinite(number) ? String(Number(number.toPrecision(6))) : "";
      if (input.value !== text && !numbers.some(([one]) => one === document.activeElement)) {
        input.value = text;
      }
    }
  }

  showPlanes(planes, key) {
    setOptions(this.#planes, planes.map((one) => [one.key, one.name]));
    this.#planes.value = key;
    this.#planes.parentNode.hidden = planes.length < 2;
  }

  showInverted(inverted) { setPressed(this.#invert, inverted); }

  showHidden(hidden) { setPressed(this.#names, hidden); }

  // ---- below: play, slider, count

  #foot() {
    this.#play = button("Play (c)", "play", () => this.#viewer.cine.toggle(),
      { "aria-pressed": "false" });
    this.#slider = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Slice",
      oninput: () => this.#viewer.go(Number(this.#slider.value)) });
    this.#loaded = element("div", { class: "s4s-loaded" });
    this.#count = element("div", { class: "s4s-count" });
    return element("div", { class: "s4s-foot" }, this.#play,
      element("div", { class: "s4s-slide" }, this.#slider, this.#loaded), this.#count);
  }

  showPlaying(playing) {
    setIcon(this.#play, playing ? "pause" : "play");
    setPressed(this.#play, playing);
  }

  /** Which slice of how many; `part` of them have been loaded. */
  showPlace(index, count, part) {
    const where = `${index + 1} / ${count}`;
    if (this.#count.textContent !== where) {
      this.#slider.max = Math.max(count - 1, 0);
      this.#slider.value = index;
      this.#slider.setAttribute("aria-valuetext", `Slice ${index + 1} of ${count}`);
      this.#slider.disabled = this.#play.disabled = count < 2;
      this.#count.textContent = where;
    }
    if (part === this.#part) return;
    this.#part = part;
    this.#loaded.style.transform = `scaleX(${part < 1 ? part : 0})`;
  }

  // ---- the line of text: what is probed, what is wrong, what is noted, what is said aloud

  #line() {
    this.#readout = element("span", { class: "s4s-readout" });
    this.#note = element("span", { class: "s4s-note" });
    this.#problem = element("span", { class: "s4s-bad", role: "alert", hidden: true });
    this.#aloud = element("div", { class: "s4s-aloud", role: "status", "aria-live": "polite" });
    return element("div", { class: "s4s-line" }, this.#readout, this.#problem, this.#note, this.#aloud);
  }

  readout(text) { this.#readout.textContent = text; }

  note(text) { this.#note.textContent = text; }

  warn(text) {
    this.#problem.textContent = text;
    this.#problem.hidden = !text;
  }

  /** Says it to a screen reader, once things have come to rest. */
  announce(text) {
    clearTimeout(this.#aloudTimer);
    this.#aloudTimer = setTimeout(() => { this.#aloud.textContent = text; }, REST);
  }

  // ---- the keys

  #helpPanel() {
    const rows = KEYS.filter(({ shown }) => shown).flatMap(({ shown, does }) => [
      element("dt", {}, shown), element("dd", {}, does)]);
    return element("div", { class: "s4s-help", role: "group", "aria-label": "Keys", hidden: true },
      element("dl", {}, ...rows));
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    setPressed(this.#help, !this.help.hidden);
    if (!this.help.hidden) this.announce(this.help.textContent);
  }
}
