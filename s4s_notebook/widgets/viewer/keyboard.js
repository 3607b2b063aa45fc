// Every command of the viewer by keyboard; the help panel is drawn from the same list.

const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** keys: as nameOf gives them; shown and does: for the help (none: not listed there). */
export const KEYS = [
  { keys: Object.keys(arrows), shown: "↑ ↓ ← →", does: "slice, or move the pan or cursor",
    act: (viewer, name) => viewer.tools.arrow(...arrows[name], 1) },
  { keys: Object.keys(arrows).map((name) => `Shift+${name}`), shown: "Shift + ↑ ↓ ← →",
    does: "level and width, or the cursor by ten",
    act: (viewer, name) => viewer.tools.arrow(...arrows[name.slice(6)], 10) },
  { keys: ["PageDown"], shown: "Page ↑ ↓", does: "ten slices", act: (viewer) => viewer.step(10) },
  { keys: ["PageUp"], act: (viewer) => viewer.step(-10) },
  { keys: ["Home"], shown: "Home, End", does: "first, last slice", act: (viewer) => viewer.go(0) },
  { keys: ["End"], act: (viewer) => viewer.go(Infinity) },
  { keys: ["+", "="], shown: "+ −", does: "zoom", act: (viewer) => viewer.camera.zoomBy(1.25) },
  { keys: ["-"], act: (viewer) => viewer.camera.zoomBy(0.8) },
  { keys: ["f"], shown: "f", does: "fit", act: (viewer) => viewer.camera.fit() },
  { keys: ["r"], shown: "r", does: "reset all", act: (viewer) => viewer.reset() },
  { keys: ["0"], shown: "0, 1 … 9", does: "the file's window, presets",
    act: (viewer) => viewer.windows.chooseNumber(0) },
  { keys: [..."123456789"], act: (viewer, name) => viewer.windows.chooseNumber(Number(name)) },
  { keys: ["i"], shown: "i", does: "invert", act: (viewer) => viewer.windows.invert() },
  { keys: ["w"], shown: "w g z m p", does: "window, pan, zoom, measure, probe",
    act: (viewer) => viewer.tools.use("window") },
  { keys: ["g"], act: (viewer) => viewer.tools.use("pan") },
  { keys: ["z"], act: (viewer) => viewer.tools.use("zoom") },
  { keys: ["m"], act: (viewer) => viewer.tools.use("length") },
  { keys: ["p"], act: (viewer) => viewer.tools.use("probe") },
  { keys: ["Enter"], shown: "Enter", does: "probe here, set an end of a length", act: (viewer) => viewer.tools.enter() },
  { keys: ["Delete", "Backspace"], shown: "Delete", does: "remove the last length",
    act: (viewer) => viewer.tools.removeLine() },
  { keys: ["c", " "], shown: "c, Space", does: "play, pause", act: (viewer) => viewer.cine.toggle() },
  { keys: ["["], shown: "[ ]", does: "play slower, faster", act: (viewer) => viewer.cine.speed(0.8) },
  { keys: ["]"], act: (viewer) => viewer.cine.speed(1.25) },
  { keys: ["v"], shown: "v", does: "next plane", act: (viewer) => viewer.nextPlane() },
  { keys: ["s"], shown: "s, S", does: "next, previous series", act: (viewer) => viewer.nextSeries(1) },
  { keys: ["S"], act: (viewer) => viewer.nextSeries(-1) },
  { keys: ["n"], shown: "n", does: "show or hide names", act: (viewer) => viewer.names.toggle() },
  { keys: ["?"], shown: "?", does: "these keys", act: (viewer) => viewer.bars.toggleHelp() },
  { keys: ["Escape"], shown: "Esc", does: "close, back to the window tool",
    act: (viewer) => viewer.escape() },
];

const BY_NAME = new Map(KEYS.flatMap((entry) => entry.keys.map((key) => [key, entry])));

/** "Shift+ArrowUp", "a", "?"; null for keys that belong to the browser (Ctrl, Alt, Meta). */
export function nameOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return null;
  return event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key;
}

/** Whether the control with the focus uses the key itself: typing, choosing, pressing, sliding. */
export function ownKey({ key, target }) {
  if (key === "Escape" || target.matches("div")) return false;
  if (target.matches("button")) return key === "Enter" || key === " ";
  return !target.matches("[type=range]") || /^(Arrow|Page|Home|End)/.test(key);
}

/** Runs the key's command; true when it was one of ours. */
export function press(viewer, event) {
  const name = nameOf(event);
  const entry = name && BY_NAME.get(name);
  if (!entry) return false;
  entry.act(viewer, name);
  return true;
}
