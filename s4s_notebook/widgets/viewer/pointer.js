// Wheel and pointer on the stage: what a hand does becomes what the viewer can do.

/** Listens to the stage of `viewer` (see panel.js) for as long as it lives. */
export function listenToPointer(viewer) {
  const { node } = viewer.stage;
  node.addEventListener("wheel", wheelOf(viewer), { passive: false });
  // JupyterLab takes the focus to the cell on a click; the keys are meant for us.
  node.addEventListener("click", () => setTimeout(() => node.focus({ preventScroll: true })));
  node.addEventListener("contextmenu", (event) => event.preventDefault());
  node.addEventListener("pointerdown", (event) => drag(viewer, event));
  node.addEventListener("pointermove", (event) => {
    if (viewer.stage.placed) viewer.tools.probe(viewer.stage.pointOf(event));
  });
  node.addEventListener("pointerleave", () => { if (!viewer.tools.cursor) viewer.tools.probe(null); });
  node.addEventListener("dblclick", () => { if (viewer.tools.name !== "length") viewer.camera.fit(); });
}

/** Scrolls, or zooms with Ctrl; a touchpad's small turns add up to whole slices. */
function wheelOf(viewer) {
  let turned = 0;
  return (event) => {
    if (!viewer.plane) return;
    if (event.ctrlKey || event.metaKey) {
      viewer.camera.zoomBy(Math.exp(-event.deltaY / 300), ...within(viewer.stage.node, event));
    } else if (viewer.count > 1) {
      const lines = event.deltaMode === 0 ? event.deltaY / 60 : event.deltaY;
      turned += lines;
      const by = Math.abs(lines) >= 1
        ? Math.sign(lines) * Math.max(1, Math.round(Math.abs(lines) / 2)) : Math.trunc(turned);
      if (by) {
        turned = 0;
        viewer.step(by);
      }
    } else return; // one slice: the page scrolls
    event.preventDefault();
  };
}

function within(node, event) {
  const box = node.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function toolFor(viewer, event) {
  if (event.button === 1 || event.shiftKey) return "pan";
  if (event.button === 2 || event.ctrlKey || event.metaKey) return "zoom";
  return viewer.tools.name;
}

function drag(viewer, event) {
  if (!viewer.slice || !viewer.stage.placed) return;
  const { node } = viewer.stage;
  const tool = toolFor(viewer, event);
  const start = within(node, event);
  const point = viewer.stage.pointOf(event);
  let last = [event.clientX, event.clientY];
  if (tool === "length") viewer.tools.draft = [point, point];
  if (tool === "probe") {
    viewer.tools.cursor = point.map(Math.round);
    viewer.announce(viewer.tools.probe(point));
  }
  const move = (next) => {
    const [dx, dy] = [next.clientX - last[0], next.clientY - last[1]];
    last = [next.clientX, next.clientY];
    if (tool === "window") viewer.windows.drag(dx, dy);
    else if (tool === "pan") viewer.camera.panBy(dx, dy);
    else if (tool === "zoom") viewer.camera.zoomBy(Math.exp(-dy / 150), ...start);
    else if (tool === "length") viewer.tools.draft = [point, viewer.stage.pointOf(next)];
    else viewer.tools.cursor = viewer.stage.pointOf(next).map(Math.round);
    viewer.refresh();
  };
  const end = () => {
    node.removeEventListener("pointermove", move);
    node.removeEventListener("pointerup", end);
    node.removeEventListener("pointercancel", end);
    if (tool === "length") viewer.tools.endLine();
  };
  node.setPointerCapture(event.pointerId);
  node.addEventListener("pointermove", move);
  node.addEventListener("pointerup", end);
  node.addEventListener("pointercancel", end);
  node.focus({ preventScroll: true });
  event.preventDefault();
  viewer.refresh();
}
