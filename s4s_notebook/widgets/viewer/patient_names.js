// The person's name and numbers: hidden until somebody asks to see them, never kept longer.

export class Names {
  #viewer;
  #source;
  #found = [];
  hidden = true;

  constructor(viewer, source) {
    this.#viewer = viewer;
    this.#source = source;
  }

  get lines() { return this.#found.map(([label, text]) => `${label} ${text}`); }

  toggle() {
    this.hidden = !this.hidden;
    this.#viewer.bars.showHidden(this.hidden);
    this.ofSeries();
    this.#viewer.refresh();
    this.#viewer.announce(this.hidden ? "Names hidden" : "Names shown");
  }

  /** Forgets the names that are there, and asks for those of the series shown if wanted. */
  async ofSeries() {
    this.#found = [];
    const { series } = this.#viewer.place;
    if (this.hidden || !series) return;
    try {
      const found = await this.#source.names(series.key);
      if (this.hidden || series.key !== this.#viewer.place.series.key) return;
      this.#found = found;
    } catch (error) {
      this.#viewer.bars.warn(error.message);
    }
    this.#viewer.refresh();
  }
}
