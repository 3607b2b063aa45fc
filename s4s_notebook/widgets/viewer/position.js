// Where the viewer is: series, plane and slice, and how each plane is looked at. It knows
// neither page nor pixels.

const fresh = () => ({ id: null, index: 0, choice: "file:0", window: null, inverted: false,
  zoom: 1, pan: [0, 0], rate: null, lines: new Map() });

export class Place {
  #views = new Map(); // group → how it is looked at, kept while another is shown
  study = { version: null, growing: true, series: [] };
  series = null;
  plane = null;
  forward = true; // the way one goes through the slices

  /** One plane of one series. */
  get group() { return `${this.series?.key}/${this.plane?.key}`; }

  get count() { return this.plane?.ids.length ?? 0; }

  /** How the plane is looked at: slice, window, inversion, zoom, pan, pace, lengths. */
  get view() {
    const { group } = this;
    if (!this.#views.has(group)) this.#views.set(group, { ...fresh(), ...this.series?.opens });
    return this.#views.get(group);
  }

  /** The name of a slice, by default of ours, in the memory of slices. */
  key(index = this.view.index) { return `${this.group}/${this.plane?.ids[index]}`; }

  /** The lengths that were measured in our slice. */
  get lines() {
    const { lines, id } = this.view;
    if (!lines.has(id)) lines.set(id, []);
    return lines.get(id);
  }

  /** To a plane of a series, its own by default, and there to the slice that was seen last. */
  select(series, planeKey, kept = {}) {
    this.series = series;
    this.plane = series.planes.find(({ key }) => key === planeKey) ?? series.planes[0];
    Object.assign(this.view, kept);
  }

  /** New slices may have come in before ours: stay with the slice, not with its number. */
  get lastIndex() {
    const { id, index } = this.view;
    // A cut through the middle, since the first holds little but air.
    const first = this.plane.key === "stack" ? 0 : Math.floor(this.count / 2);
    const found = id === null ? first : this.plane.ids.indexOf(id);
    return found >= 0 ? found : index;
  }

  /** To a slice by its number, or to the nearest that there is; gives its number. */
  go(index) {
    const { view } = this;
    const to = Math.min(Math.max(index, 0), this.count - 1);
    if (to !== view.index) this.forward = to > view.index;
    view.index = to;
    view.id = this.plane.ids[to];
    return to;
  }

  /** The series `by` further on, round and round; null where there is no other. */
  seriesBy(by) {
    const { series } = this.study;
    const at = series.indexOf(this.series);
    return series.length > 1 ? series[(at + by + series.length) % series.length] : null;
  }

  /** The plane after ours, round and round; null where there is no other. */
  get nextPlane() {
    const planes = this.series?.planes ?? [];
    return planes.length > 1 ? planes[(planes.indexOf(this.plane) + 1) % planes.length] : null;
  }

  /** The slice stays, all else is as at first. */
  reset() {
    const { id, index } = this.view;
    this.#views.set(this.group, { ...fresh(), ...this.series?.opens, id, index });
  }
}
