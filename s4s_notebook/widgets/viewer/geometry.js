// Where a pixel lies in the patient (PS3.3 C.7.6.2.1.1), lengths, and the fit on screen.
// Pixel (0, 0) is the centre of the top left one; a slice's `spacing` is [between rows,
// between columns] in mm, `position` the first pixel's centre, `orientation` six cosines.

/** [x, y, z] in mm of image point (column, row), or null where the file does not say. */
export function patientPoint(slice, column, row) {
  const { position, orientation, spacing } = slice;
  if (!position || !orientation || !spacing) return null;
  return [0, 1, 2].map(
    (axis) => position[axis]
      + orientation[axis] * column * spacing[1]
      + orientation[3 + axis] * row * spacing[0],
  );
}

/**
 * Distance of two image points: {parts: [[value, unit], …], note}. A slice's `scales` are those of
 * imaging/lengths.py; one without has its `spacing`. In px where no scale holds both points.
 */
export function lengthOf(slice, [x0, y0], [x1, y1]) {
  const [wide, high] = [Math.abs(x1 - x0), Math.abs(y1 - y0)];
  const scale = scaleAt(slice, [x0, y0], [x1, y1]);
  if (!scale) return { parts: [[Math.hypot(wide, high * (slice.aspect ?? 1)), "px"]], note: "" };
  const { down, across, units: [vertical, horizontal], note } = scale;
  if (vertical === "mm" && horizontal === "mm") {
    return { parts: [[Math.hypot(wide * across, high * down), "mm"]], note };
  }
  const parts = [[wide * across, horizontal], [high * down, vertical]];
  return { parts: parts.filter(([, unit]) => unit), note };
}

/** The scale that holds at both points: of high priority first, then of the smallest region. */
function scaleAt(slice, from, to) {
  const [down, across] = slice.spacing ?? [];
  const scales = slice.scales ?? (slice.spacing ? [{ down, across, units: ["mm", "mm"], note: "" }] : []);
  const size = ({ region }) => (region ? (region[1] - region[0]) * (region[3] - region[2]) : 0);
  const ranked = [...scales].sort((a, b) => (a.low ?? 0) - (b.low ?? 0) || size(a) - size(b));
  const at = ([x, y]) => ranked.find(({ region: box }) => !box
    || (x >= box[0] - 0.5 && x < box[1] + 0.5 && y >= box[2] - 0.5 && y < box[3] + 0.5));
  const first = at(from);
  return first && first === at(to) && first.units.some(Boolean) ? first : null;
}

/** Width and height of one pixel on screen at zoom 1, so that mm are mm both ways. */
export function pixelShape(slice) {
  const [down, across] = slice.spacing ?? [slice.aspect ?? 1, 1];
  const smaller = Math.min(down, across);
  return smaller > 0 ? { width: across / smaller, height: down / smaller } : { width: 1, height: 1 };
}

/**
 * The picture's place on a stage of stageWidth × stageHeight CSS pixels:
 * {left, top, scaleX, scaleY}, for zoom 1 = whole picture visible and a pan in CSS pixels.
 */
export function place(slice, stageWidth, stageHeight, zoom, pan) {
  const shape = pixelShape(slice);
  const width = slice.columns * shape.width;
  const height = slice.rows * shape.height;
  const fit = Math.min(stageWidth / width, stageHeight / height) || 1;
  const scaleX = fit * zoom * shape.width;
  const scaleY = fit * zoom * shape.height;
  return {
    scaleX,
    scaleY,
    left: (stageWidth - slice.columns * scaleX) / 2 + pan[0],
    top: (stageHeight - slice.rows * scaleY) / 2 + pan[1],
  };
}

/** Image point under a stage point; whole numbers are pixel centres. */
export function imagePoint(placed, x, y) {
  return [(x - placed.left) / placed.scaleX - 0.5, (y - placed.top) / placed.scaleY - 0.5];
}

/** Stage point of an image point. */
export function stagePoint(placed, [column, row]) {
  return [
    placed.left + (column + 0.5) * placed.scaleX,
    placed.top + (row + 0.5) * placed.scaleY,
  ];
}

/** Pan that keeps the picture under (x, y) in place while the zoom changes. */
export function panForZoom(slice, stage, state, zoom, x, y) {
  const before = place(slice, stage.width, stage.height, state.zoom, state.pan);
  const point = imagePoint(before, x, y);
  const after = place(slice, stage.width, stage.height, zoom, state.pan);
  const [nowX, nowY] = stagePoint(after, point);
  return [state.pan[0] + x - nowX, state.pan[1] + y - nowY];
}
