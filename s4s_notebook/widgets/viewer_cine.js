// Cine: at the pace of the file, whatever the pace of the screen.

export class Cine {
  #step;
  #since = 0;
  #frame = 0;
  rate = 0; // frames a second; 0 while it stands still

  /** `step(due)` goes on by so many frames, or gives false where the next is not here yet. */
  constructor(step) {
    this.#step = step;
  }

  start(rate) {
    this.rate = rate;
    this.#since = performance.now();
    this.#tick();
  }

  stop() {
    this.rate = 0;
    cancelAnimationFrame(this.#frame);
  }

  #tick() {
    this.#frame = requestAnimationFrame((now) => {
      if (!this.rate) return;
      const due = Math.floor(((now - this.#since) * this.rate) / 1000);
      if (due > 0 && this.#step(due)) this.#since += (due * 1000) / this.rate;
      this.#tick();
    });
  }
}
