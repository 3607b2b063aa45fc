// What there is to see: asked of the source once, and again while a download still runs; and
// what a viewer shows while nobody answers.

import { Pauses } from "./elements.js";

const POLL = 400; // ms between questions while a download still runs
const EAGER = 100; // and before its first slice
const PATIENCE = 4000; // ms after which an answer that has not come is explained

export class Feed {
  #viewer;
  #source;
  #pauses = new Pauses();
  #heard = false;
  #stopped = false;
  #missingSince = 0;

  constructor(viewer, source) {
    this.#viewer = viewer;
    this.#source = source;
    this.#pauses.of(PATIENCE).then(() => { if (!this.#heard && source.slow) this.quiet(source.slow); });
  }

  async start() {
    const { bars, place } = this.#viewer;
    let failed = 0;
    while (!this.#stopped) {
      try {
        this.#viewer.setStudy(await this.#source.study(place.study.version));
        bars.warn("");
        failed = 0;
      } catch (error) {
        bars.warn(error.message);
        failed += 1;
      }
      if (!place.study.growing) return;
      const usual = place.study.series.length ? POLL : EAGER;
      await this.#pauses.of(Math.min(usual * 2 ** failed, PATIENCE));
    }
  }

  stop() {
    this.#stopped = true;
    this.#pauses.stop();
  }

  /**
   * With a text: nothing but this line, as long as nobody answers; the still picture that a
   * notebook keeps beside us is then shown. Without: the viewer again.
   */
  quiet(text) {
    const { node, bars } = this.#viewer;
    if (!text) this.#heard = true;
    if (!text && !node.classList.contains("s4s-quiet")) return;
    node.classList.toggle("s4s-quiet", Boolean(text));
    bars.note(text);
  }

  /** The slice that was waited for is here. */
  arrived() { this.#missingSince = 0; }

  /** What to say of a slice that is not here yet. */
  waiting() {
    this.#missingSince ||= performance.now();
    const late = performance.now() - this.#missingSince >= PATIENCE;
    if (!late) this.#pauses.of(PATIENCE).then(() => this.#viewer.refresh());
    return late && this.#source.slow ? `Loading …\n${this.#source.slow}` : "Loading …";
  }
}
