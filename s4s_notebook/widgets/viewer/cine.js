// Cine: at the pace of the file, whatever the pace of the screen.

const USUAL = 10; // frames a second, where the file does not say
const [SLOWEST, FASTEST] = [0.5, 60];

export class Cine {
  #viewer;
  #since = 0;
  #frame = 0;
  rate = 0; // frames a second; 0 while it stands still

  constructor(viewer) { this.#viewer = viewer; }

  get #pace() { return this.#viewer.view.rate ?? (this.#viewer.place.series?.rate || USUAL); }

  toggle() { if (this.rate) this.pause(); else this.play(); }

  play() {
    if (this.#viewer.count < 2 || this.rate) return;
    this.rate = this.#pace;
    this.#since = performance.now();
    this.#viewer.bars.showPlaying(true);
    this.#tick();
  }

  pause() {
    if (!this.rate) return;
    this.rate = 0;
    cancelAnimationFrame(this.#frame);
    this.#viewer.bars.showPlaying(false);
    this.#viewer.refresh();
  }

  speed(factor) {
    const { view } = this.#viewer;
    view.rate = Math.min(Math.max(this.#pace * factor, SLOWEST), FASTEST);
    if (this.rate) this.rate = view.rate;
    this.#viewer.refresh();
    this.#viewer.announce(`${Math.round(view.rate * 10) / 10} frames a second`);
  }

  #tick() {
    this.#frame = requestAnimationFrame((now) => {
      if (!this.rate) return;
      const due = Math.floor(((now - this.#since) * this.rate) / 1000);
      if (due > 0 && this.#step(due)) this.#since += (due * 1000) / this.rate;
      this.#tick();
    });
  }

  /** Goes on by what is due; waits, with false, for a frame that is still on its way. */
  #step(due) {
    const { view, count, slice } = this.#viewer;
    if (!slice) return false;
    this.#viewer.go((view.index + Math.min(due, count)) % count);
    return true;
  }
}
