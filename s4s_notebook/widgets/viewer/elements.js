// Small DOM pieces. Text only ever enters the page through textContent or setAttribute,
// so that a name such as "<img onerror=…>" stays what it is: text.

const SVG = "http://www.w3.org/2000/svg";

/** element("div", {class: "x", "aria-label": "y", onclick: f}, child, "text", …) */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, String(value));
  }
  node.append(...children);
  return node;
}

/** Path data on a 16 × 16 grid, drawn with strokes in the text's colour. */
const ICONS = {
  window: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  pan: "M8 2v12M2 8h12M8 2 6 4M8 2l2 2M8 14l-2-2M8 14l2-2M2 8l2-2M2 8l2 2M14 8l-2-2M14 8l-2 2",
  zoom: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l4 4M5.2 7h3.6M7 5.2v3.6",
  length: "M2 11 11 2l3 3-9 9zM5 8l1.5 1.5M7.5 5.5 9 7M10 3l1.5 1.5",
  probe: "M8 1v5M8 10v5M1 8h5M10 8h5",
  invert: "M3 3h10v10H3zM3 13 13 3M13 5v8H5z",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  reset: "M3.5 5A5.5 5.5 0 1 1 2.5 8.5M3 2v3.5h3.5",
  play: "M5 3v10l8-5z",
  pause: "M5 3v10M11 3v10",
  names: "M8 3a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM3 14c0-3 2-4.5 5-4.5s5 1.5 5 4.5",
  help: "M5.5 6a2.5 2.5 0 1 1 3.5 2.300c-.7.3-1 .8-1 1.7M8 12.5v.5",
};

export function icon(name) {
  return svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", class: "s4s-icon" },
    svg("path", { d: ICONS[name] }));
}

/** A button with an icon; its name is read aloud and shown as a tooltip. */
export function button(name, iconName, onclick, more = {}) {
  return element("button", { type: "button", class: "s4s-button", title: name,
    "aria-label": name, onclick, ...more }, icon(iconName));
}

export function setPressed(node, pressed) {
  node.setAttribute("aria-pressed", pressed ? "true" : "false");
}

/** Keeps Jupyter's one-letter commands away: it looks at the element with the focus first. */
export function keepKeys(...nodes) {
  for (const node of nodes) node.setAttribute("data-lm-suppress-shortcuts", "true");
}

export function setIcon(node, name) {
  node.replaceChildren(icon(name));
}

/** Replaces the options of a select: [[value, text], …] or {group, options}. */
export function setOptions(select, entries) {
  const option = ([value, text]) => element("option", { value }, text);
  select.replaceChildren(...entries.map((entry) => (Array.isArray(entry)
    ? option(entry)
    : element("optgroup", { label: entry.group }, ...entry.options.map(option)))));
}

/** Pauses that end, unfinished, with whoever makes them. */
export class Pauses {
  #timers = new Set();

  of(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => { this.#timers.delete(timer); resolve(); }, milliseconds);
      this.#timers.add(timer);
    });
  }

  stop() { for (const timer of this.#timers) clearTimeout(timer); }
}

/** A number for people: no more digits than its size gives a meaning to, and a minus sign. */
export function short(value) {
  return Number.isFinite(value) ? digits(value).replaceAll("-", "−") : "–";
}

function digits(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return String(value);
  if (size >= 1e7 || (size > 0 && size < 1e-3)) return value.toExponential(2);
  return String(Number(value.toFixed(size >= 100 ? 1 : size >= 1 ? 2 : 4)));
}
