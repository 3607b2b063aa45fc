// The viewer's core without a browser: node --test. What needs a page is in tests/browser.
import assert from "node:assert/strict";
import { test } from "node:test";

const at = (name) => import(new URL(`../../s4s_notebook/widgets/${name}`, import.meta.url));
const { Painter, greyFunction, pixelsOf, quantityAt, valueOf } = await at("viewer/grayscale.js");
const { imagePoint, lengthOf, panForZoom, patientPoint, place, stagePoint } =
  await at("viewer/geometry.js");
const { Slices, nearestFirst } = await at("viewer/slice_cache.js");
const { KEYS, nameOf, ownKey, press } = await at("viewer/keyboard.js");
const { Place } = await at("viewer/position.js");
const { byHand, dragged, entriesFor, windowOf, windowText } = await at("viewer/windowing.js");
const { Asker, unpack } = await at("viewer/viewer.js");
const { short } = await at("viewer/elements.js");
const { valueText } = await at("viewer/viewport.js");

const PLAIN = { rows: 1, slope: 1, intercept: 0, windows: [] };
const greys = (slice, window, inverted = false) => [...new Painter().paint(slice, window, inverted,
  new Uint32Array(slice.columns))].map((word) => word & 255);

test("a LINEAR window follows PS3.3 C.11.2.1.2.1, truncated", () => {
  const grey = greyFunction({ center: 40, width: 400, rule: "LINEAR" });
  assert.deepEqual([-1000, -160, -159, 40, 239, 240].map(grey), [0, 0, 0, 127, 255, 255]);
  const step = greyFunction({ center: 5, width: 1, rule: "LINEAR" });
  assert.deepEqual([4, 5].map(step), [0, 255]);
});

test("LINEAR_EXACT, SIGMOID and a table", () => {
  const exact = greyFunction({ center: 50, width: 100, rule: "LINEAR_EXACT" });
  assert.deepEqual([0, 50, 100, 101].map(exact), [0, 127, 255, 255]);
  const sigmoid = greyFunction({ center: 0, width: 4, rule: "SIGMOID" });
  assert.deepEqual([-1e9, 0, 1e9].map(sigmoid), [0, 127, 255]);
  const table = greyFunction({ table: new Float64Array([0, 2048, 4095]), first: 10, bits: 12 });
  assert.deepEqual([-5, 10, 11.9, 12, 99].map(table), [0, 0, 127, 255, 255]);
});

test("what is no number is black", () => {
  assert.equal(greyFunction({ center: 0, width: 2, rule: "LINEAR_EXACT" })(NaN), 0);
});

test("signed, unsigned, wide: padding black, MONOCHROME1 last, inversion by hand", () => {
  const window = { center: 128, width: 256, rule: "LINEAR" };
  const signed = { ...PLAIN, columns: 3, type: "int16", pixels: new Int16Array([-5, 0, 255]) };
  assert.deepEqual(greys(signed, window), [0, 0, 255]);
  assert.deepEqual(greys({ ...signed, inverse: true }, window), [255, 255, 0]);
  assert.deepEqual(greys({ ...signed, inverse: true, padding: [-5, -5] }, window), [0, 255, 0]);
  assert.deepEqual(greys(signed, window, true), [255, 255, 0]);
  const wide = { ...PLAIN, columns: 2, type: "uint32", pixels: new Uint32Array([0, 4e9]) };
  assert.deepEqual(greys(wide, { center: 2e9, width: 4e9, rule: "LINEAR_EXACT" }), [0, 255]);
});

test("a slope of its own for each slice is not taken from the last look-up table", () => {
  const painter = new Painter();
  const window = { center: 128, width: 256, rule: "LINEAR" };
  const slice = { ...PLAIN, columns: 1, type: "uint8", pixels: new Uint8Array([100]) };
  const out = new Uint32Array(1);
  painter.paint(slice, window, false, out);
  painter.paint({ ...slice, slope: 2 }, window, false, out);
  assert.equal(out[0] & 255, 200);
});

test("a slice with values that the last one had not is painted whole", () => {
  const painter = new Painter();
  const window = { center: 128, width: 256, rule: "LINEAR" };
  const paint = (...values) => [...painter.paint({ ...PLAIN, columns: values.length, type: "int16",
    pixels: new Int16Array(values) }, window, false, new Uint32Array(values.length))]
    .map((word) => word & 255);
  assert.deepEqual(paint(10, 20), [10, 20]);
  assert.deepEqual(paint(-3, 15, 200), [0, 15, 200]);
  assert.deepEqual(paint(10, 100), [10, 100]);
});

test("colour is shown as it comes and inverts", () => {
  const slice = { ...PLAIN, columns: 1, type: "rgb", pixels: new Uint8Array([1, 2, 3]) };
  const out = new Painter().paint(slice, null, false, new Uint32Array(1));
  assert.equal(out[0], 0xff030201);
  assert.equal(new Painter().paint(slice, null, true, out)[0], 0xfffcfdfe);
});

test("pixels of the wrong size or kind are refused", () => {
  const slice = { rows: 2, columns: 2, type: "int16" };
  assert.throws(() => pixelsOf(slice, new ArrayBuffer(7)), /7 bytes/);
  assert.throws(() => pixelsOf({ ...slice, type: "text" }, new ArrayBuffer(8)), /unknown/);
  const odd = new DataView(new ArrayBuffer(9), 1, 8); // a view that starts at an odd byte
  assert.equal(pixelsOf(slice, odd).length, 4);
});

test("float32 is rescaled within 32 bits, as NumPy does", () => {
  const slice = { ...PLAIN, type: "float32", slope: 0.1, intercept: 0.3 };
  assert.equal(valueOf(slice, 7), Math.fround(Math.fround(7 * Math.fround(0.1)) + Math.fround(0.3)));
});

const AXIAL = { rows: 100, columns: 200, spacing: [2, 0.5], position: [-10, 20, 30],
  orientation: [1, 0, 0, 0, 1, 0] };

test("a pixel has the quantity that the file maps it to", () => {
  const map = { first: 0, last: 2000, slope: 1e-6, intercept: 0, unit: "mm2/s" };
  const slice = { columns: 2, pixels: new Uint16Array([1200, 3000]), unit: "", slope: 1,
    intercept: 0, quantities: [map] };
  assert.deepEqual(quantityAt(slice, [1, 0]), null);
  assert.equal(valueText(slice, 1200, quantityAt(slice, [0, 0])), "1200 · 0.0012 mm2/s");
  assert.equal(valueText(slice, 3000, quantityAt(slice, [1, 0])), "3000");
});

test("pixels lie where the file says, lengths are in mm both ways", () => {
  assert.deepEqual(patientPoint(AXIAL, 4, 3), [-8, 26, 30]);
  assert.equal(patientPoint({ ...AXIAL, position: null }, 0, 0), null);
  const length = (slice, from, to) => lengthOf(slice, from, to).parts;
  assert.deepEqual(length(AXIAL, [0, 0], [6, 2]), [[5, "mm"]]);
  assert.deepEqual(length({ ...AXIAL, spacing: null }, [0, 0], [3, 4]), [[5, "px"]]);
  const tissue = { down: 0.5, across: 0.5, units: ["mm", "mm"], note: "", region: [0, 99, 0, 49] };
  const strip = { down: 0, across: 0.01, units: ["", "s"], note: "", region: [0, 99, 50, 99] };
  const doppler = { down: 2, across: 0.01, units: ["cm/s", "s"], note: "", region: [0, 9, 90, 99], low: true };
  const echo = { ...AXIAL, scales: [tissue, strip, doppler] };
  assert.deepEqual(length(echo, [0, 0], [6, 8]), [[5, "mm"]]);
  assert.deepEqual(length(echo, [0, 60], [50, 70]), [[0.5, "s"]]);
  assert.deepEqual(length(echo, [0, 95], [5, 91]), [[0.05, "s"]]); // the strip has priority
  assert.deepEqual(length(echo, [0, 40], [3, 60]), [[Math.hypot(3, 20), "px"]]);
  assert.deepEqual(length({ ...echo, scales: [doppler] }, [0, 90], [5, 95]), [[0.05, "s"], [10, "cm/s"]]);
});

test("the whole picture fits, with pixels that are not square", () => {
  const placed = place(AXIAL, 400, 400, 1, [0, 0]);
  assert.equal(placed.scaleY / placed.scaleX, 4);
  assert.ok(placed.top >= 0 && placed.left >= 0);
  assert.equal(placed.scaleY * 100, 400);
  const point = imagePoint(placed, ...stagePoint(placed, [17, 42]));
  assert.ok(Math.hypot(point[0] - 17, point[1] - 42) < 1e-9);
});

test("zoom keeps the point under the mouse", () => {
  const stage = { width: 400, height: 300 };
  const state = { zoom: 1, pan: [5, -7] };
  const before = imagePoint(place(AXIAL, 400, 300, 1, state.pan), 123, 45);
  const pan = panForZoom(AXIAL, stage, state, 3, 123, 45);
  const after = imagePoint(place(AXIAL, 400, 300, 3, pan), 123, 45);
  assert.ok(Math.hypot(after[0] - before[0], after[1] - before[1]) < 1e-9);
});

const slice = (bytes) => ({ pixels: new Uint8Array(bytes) });
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

test("memory stays below the limit over 2,000 slices, whatever is scrolled", async () => {
  const slices = new Slices(async () => slice(100), { limit: 5000, parallel: 3 });
  for (const index of [0, 1999, 1000, 1001, 3]) {
    slices.wish(nearestFirst(2000, index).map(String));
    await slices.get(String(index));
    while (!slices.idle) await turn();
    assert.ok(slices.bytes <= 5000, `${slices.bytes}`);
    assert.equal(slices.bytes, slices.count * 100);
    assert.ok(slices.has(String(index)));
  }
});

test("nothing is asked for twice, and few at once", async () => {
  const asked = [];
  let most = 0;
  let now = 0;
  const slices = new Slices(async (key) => {
    asked.push(key);
    most = Math.max(most, (now += 1));
    await turn();
    now -= 1;
    return slice(10);
  }, { parallel: 3 });
  const both = [slices.get("a"), slices.get("a")];
  slices.wish(["a", "b", "c", "d", "e"]);
  await Promise.all(both);
  while (!slices.idle) await turn();
  assert.deepEqual(asked, ["a", "b", "c", "d", "e"]);
  assert.ok(most <= 3);
  slices.wish(["e", "d"]);
  await slices.get("c");
  assert.equal(asked.length, 5);
});

test("who scrolls faster than slices come waits for the last one alone", async () => {
  const asked = [];
  const slices = new Slices(async (key) => {
    asked.push(key);
    await turn();
    return slice(10);
  }, { parallel: 3 });
  const all = Array.from({ length: 200 }, (_, at) => slices.get(String(at)));
  const got = await Promise.all(all);
  assert.deepEqual(asked, ["0", "1", "2", "3", "199"]);
  assert.equal(got[100], null);
  assert.ok(got[199] && slices.has("199"));
});

test("how many slices of a plane are here is known without counting", async () => {
  const slices = new Slices(async () => slice(100), { limit: 350 });
  for (const key of ["a/stack/1", "a/stack/2", "a/1/1", "a/stack/3"]) await slices.get(key);
  assert.deepEqual(["a/stack", "a/1", "b/stack"].map((one) => slices.countOf(one)), [2, 1, 0]);
  assert.equal(slices.room, 3);
});

test("a slice that failed is told of, left out, and tried again when it is wanted", async () => {
  let broken = true;
  const slices = new Slices(async () => {
    if (broken) throw new Error("no codec");
    return slice(1);
  });
  await assert.rejects(slices.get("x"), /no codec/);
  assert.equal(slices.errorOf("x").message, "no codec");
  slices.wish(["x"]);
  assert.ok(slices.idle);
  broken = false;
  await slices.get("x");
  assert.equal(slices.errorOf("x"), null);
});

test("the nearest slices come first, the way one is going before the other", () => {
  assert.deepEqual(nearestFirst(5, 2), [2, 3, 1, 4, 0]);
  assert.deepEqual(nearestFirst(5, 2, false), [2, 1, 3, 0, 4]);
  assert.deepEqual(nearestFirst(1000, 500, true, 3), [500, 501, 499]);
});

test("each key means one thing, and the browser keeps its own", () => {
  const all = KEYS.flatMap(({ keys }) => keys);
  assert.equal(new Set(all).size, all.length);
  assert.equal(nameOf({ key: "r", ctrlKey: true }), null);
  assert.equal(nameOf({ key: "ArrowUp", shiftKey: true }), "Shift+ArrowUp");
  assert.equal(nameOf({ key: "?", shiftKey: true }), "?");
  const done = [];
  const viewer = new Proxy({}, { get: (_, name) => (...more) => done.push([name, ...more]) });
  assert.ok(press(viewer, { key: "PageDown" }));
  assert.ok(!press(viewer, { key: "q" }));
  assert.deepEqual(done, [["step", 10]]);
  for (const key of all) assert.ok(KEYS.find(({ keys }) => keys.includes(key)).act);
});

test("a control keeps the keys that it uses itself, and no other", () => {
  const on = (kind) => ({ matches: (one) => one === kind });
  const own = (kind, ...keys) => keys.map((key) => ownKey({ key, target: on(kind) }));
  assert.deepEqual(own("button", "Enter", " ", "i", "ArrowDown"), [true, true, false, false]);
  assert.deepEqual(own("[type=range]", "End", "ArrowUp", "i"), [true, true, false]);
  assert.deepEqual(own("select", "l", "ArrowUp", "Escape"), [true, true, false]);
  assert.deepEqual(own("div", "i", "ArrowUp"), [false, false]);
});

const STUDY = { series: ["a", "b"].map((key) => ({ key, planes: [
  { key: "stack", name: "Axial", ids: [10, 11, 12] }, { key: "1", name: "Coronal", ids: [0, 1, 2, 3] },
] })) };

test("each plane is looked at in its own way, and found again as it was left", () => {
  const place = new Place();
  place.study = STUDY;
  place.select(STUDY.series[0], null);
  assert.equal(place.go(place.lastIndex), 0);
  assert.equal(place.key(), "a/stack/10");
  assert.equal(place.go(99), 2);
  place.lines.push("a length");
  place.view.zoom = 3;
  place.select(STUDY.series[0], "1", { inverted: true });
  assert.equal(place.go(place.lastIndex), 2); // in the middle
  assert.deepEqual([place.view.zoom, place.view.inverted, place.lines], [1, true, []]);
  assert.equal(place.nextPlane.key, "stack");
  assert.deepEqual([place.seriesBy(1).key, place.seriesBy(-1).key], ["b", "b"]);
  place.select(STUDY.series[0], "stack");
  assert.deepEqual([place.lastIndex, place.view.zoom, place.lines], [2, 3, ["a length"]]);
  place.reset();
  assert.deepEqual([place.view.index, place.view.zoom, place.lines], [2, 1, []]);
});

test("one stays with a slice while others come in before it", () => {
  const place = new Place();
  const stack = (...ids) => ({ key: "a", planes: [{ key: "stack", name: "", ids }] });
  place.select(stack(5, 7), "stack");
  place.go(1);
  place.select(stack(5, 6, 7), "stack");
  assert.equal(place.lastIndex, 2);
  place.select(stack(5, 6), "stack"); // it is gone
  assert.equal(place.go(place.lastIndex), 1);
});

test("the window in force: by hand, the file's, else from smallest to largest", () => {
  const [one, two, whole] = [{ center: 1, width: 9 }, { center: 2, width: 9 }, { center: 5, width: 10 }];
  const slice = { type: "int16", windows: [one, two], whole };
  const view = { window: null, choice: "file:1" };
  assert.equal(windowOf(view, slice), two);
  assert.equal(windowOf(view, { ...slice, windows: [one] }), one);
  assert.equal(windowOf(view, { ...slice, windows: [] }), whole);
  assert.equal(windowOf({ ...view, window: whole }, slice), whole);
  assert.equal(windowOf(view, { ...slice, type: "rgb" }), null);
  assert.equal(windowText(null), "colour");
  assert.equal(windowText({ center: -600, width: 1500 }), "C −600  W 1500");
});

test("a drag widens and lifts, in steps of the window's size, never below what its rule allows", () => {
  const whole = { center: 0, width: 300 };
  const window = { center: 40, width: 300, rule: "LINEAR" };
  assert.deepEqual(dragged(window, whole, 10, -5), { ...window, center: 35, width: 310, label: "by hand" });
  assert.equal(dragged(window, whole, -900, 0).width, 1);
  assert.deepEqual(dragged({ table: [], bits: 8 }, whole, 0, 0), byHand(whole, 0, 300));
  assert.ok(byHand({ rule: "SIGMOID" }, 0, -3).width > 0);
});

test("the list of windows: the file's, presets, the rest", () => {
  const slice = { type: "int16", windows: [{ center: 40, width: 400, label: "SOFT" }, { table: [1] }] };
  const values = entriesFor(slice, [{ name: "lung" }]).flatMap((entry) => entry.options ?? [entry]);
  assert.deepEqual(values, [["file:0", "SOFT (40 / 400)"], ["file:1", "VOI LUT"],
    ["preset:lung", "lung"], ["range", "whole range"], ["custom", "by hand"]]);
  assert.deepEqual(entriesFor({ type: "rgb", windows: [] }, []), [["file:0", "colour"]]);
});

class Model {
  heard = [];
  sent = [];
  on(_, callback) { this.heard.push(callback); }
  off(_, callback) { this.heard = this.heard.filter((one) => one !== callback); }
  send(message) { this.sent.push(message); }
  answer(message, buffers) { for (const one of [...this.heard]) one(message, buffers); }
}

test("two views of one widget do not take each other's answers", async () => {
  const model = new Model();
  const [one, two] = [new Asker(model), new Asker(model)];
  const asked = [one.ask("slice"), two.ask("slice")];
  model.answer({ id: model.sent[1].id, name: "second" });
  model.answer({ id: model.sent[0].id, name: "first" });
  assert.deepEqual((await Promise.all(asked)).map(([{ name }]) => name), ["first", "second"]);
});

test("greets until a kernel answers off its main thread", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const model = new Model();
  const asker = new Asker(model);
  const greeted = asker.greet();
  model.answer({ id: model.sent[0].id, free: false });
  await greeted;
  context.mock.timers.tick(250);
  assert.equal(model.sent.length, 2);
  model.answer({ id: model.sent[1].id, free: true });
  await Promise.resolve();
  await Promise.resolve();
  context.mock.timers.tick(10_000);
  assert.equal(model.sent.length, 2);
});

test("an error from the kernel is an error here", async () => {
  const model = new Model();
  const asked = new Asker(model).ask("slice");
  model.answer({ id: model.sent[0].id, error: "no codec" });
  await assert.rejects(asked, /no codec/);
});

test("tables travel as buffers", () => {
  const table = new DataView(new Float64Array([1, 2]).buffer);
  const got = unpack({ rows: 1, columns: 1, type: "uint8", modality: { buffer: 1, first: 0 },
    windows: [{ buffer: 1, first: 5, bits: 8 }] }, [new DataView(new ArrayBuffer(1)), table]);
  assert.deepEqual([...got.modality.table], [1, 2]);
  assert.deepEqual([...got.windows[0].table], [1, 2]);
});

test("numbers for people", () => {
  assert.deepEqual([40, -1024, 0.123456, 12.3456, 1e-9, 5e8, NaN].map(short),
    ["40", "−1024", "0.1235", "12.35", "1.00e−9", "5.00e+8", "–"]);
});
