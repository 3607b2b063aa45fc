// Zoom and pan: the picture stays as it is, only its place on the stage changes.

import { panForZoom } from "./geometry.js";

const [LEAST, MOST] = [0.1, 64]; // 1 is the whole picture

export class Camera {
  #viewer;

  constructor(viewer) { this.#viewer = viewer; }

  /** Zooms, keeping the stage point (x, y) in place. */
  zoomBy(factor, x, y) {
    const { view, slice, stage } = this.#viewer;
    if (!slice) return;
    const { width, height } = stage.size;
    const zoom = Math.min(Math.max(view.zoom * factor, LEAST), MOST);
    view.pan = panForZoom(slice, stage.size, view, zoom, x ?? width / 2, y ?? height / 2);
    view.zoom = zoom;
    this.#viewer.refresh();
    this.#viewer.announce(`Zoom ${Math.round(zoom * 100)} percent of fit`);
  }

  panBy(dx, dy) {
    const { view } = this.#viewer;
    view.pan = [view.pan[0] + dx, view.pan[1] + dy];
    this.#viewer.refresh();
  }

  fit() {
    Object.assign(this.#viewer.view, { zoom: 1, pan: [0, 0] });
    this.#viewer.refresh();
    this.#viewer.announce("Whole picture");
  }
}
