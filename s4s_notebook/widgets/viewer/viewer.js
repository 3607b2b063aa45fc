// The viewer in a notebook: an anywidget whose source is the kernel, asked by custom messages
// ({ask, id, …} → {id, …} + buffers), so that neither pixels nor names are ever saved.

import { Viewer } from "./panel.js";
import { pixelsOf } from "./grayscale.js";

const GREET = 250; // ms between greetings until the kernel answers from a thread of its own
const GREETINGS = 12; // kernels without subshells never do

/** Questions and answers over a widget's comm. */
export class Asker {
  #model;
  #waiting = new Map();
  #last = 0;
  #own = Math.random().toString(36).slice(2); // two views of one widget hear each other's answers
  #stopped = false;
  #heard;

  constructor(model) {
    this.#model = model;
    this.#heard = (message, buffers) => this.#answer(message, buffers);
    model.on("msg:custom", this.#heard);
  }

  ask(what, more = {}) {
    this.#last += 1;
    const id = `${this.#own}.${this.#last}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#model.send({ ...more, ask: what, id });
    });
  }

  #answer(message, buffers) {
    const one = this.#waiting.get(message.id);
    if (!one) return;
    this.#waiting.delete(message.id);
    if (message.error) one.reject(new Error(message.error));
    else one.resolve([message, buffers]);
  }

  /**
   * While a cell runs, a kernel handles widget messages only in a subshell, and Jupyter sends
   * them there only once it has seen an answer from it: so greet until one comes. Resolves with
   * the first answer; a question asked before it could wait for the cell to end.
   */
  greet() {
    return new Promise((resolve) => {
      let free = false;
      const again = (tries) => {
        if (free || this.#stopped || !tries) return;
        this.ask("hello").then(([answer]) => { free ||= answer.free; resolve(); }, resolve);
        setTimeout(() => again(tries - 1), GREET);
      };
      again(GREETINGS);
    });
  }

  stop() {
    this.#stopped = true;
    this.#model.off("msg:custom", this.#heard);
    this.#waiting.clear();
  }
}

/** The viewer's source (see panel.js) behind an Asker. */
export function kernelSource(asker) {
  const picture = async (what, more) => {
    const [message, buffers] = await asker.ask(what, more);
    return unpack(message, buffers);
  };
  return {
    slow: "The kernel is busy, or has ended: then run this cell again to move the picture.",
    study: async (have) => (await asker.ask("study", { have }))[0],
    slice: (series, plane, key) => picture("slice", { series, plane, key }),
    thumbnail: (series) => picture("thumbnail", { series }),
    names: async (series) => (await asker.ask("names", { series }))[0].names,
  };
}

/** A slice as the viewer wants it: buffers[0] are its pixels, the rest its tables. */
export function unpack(slice, buffers) {
  const table = (one) => (one && "buffer" in one ? { ...one, table: tableOf(buffers[one.buffer]) } : one);
  return { ...slice, pixels: pixelsOf(slice, buffers[0]),
    modality: table(slice.modality), windows: (slice.windows ?? []).map(table) };
}

const tableOf = (view) => new Float64Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

export default {
  render({ model, el }) {
    const asker = new Asker(model);
    const viewer = new Viewer(kernelSource(asker), {
      height: model.get("height"), limit: model.get("memory") * 2 ** 20 });
    el.append(viewer.node);
    asker.greet().then(() => { viewer.quiet(""); viewer.start(); });
    return () => {
      viewer.stop();
      asker.stop();
    };
  },
};
