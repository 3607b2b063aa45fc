// The browser's end of comm.py: `openLine(model)` gives back `send(content)`, a promise that
// is true once the kernel has the message, false when it is too busy to hear (no subshells).

const REPEAT = 250; // milliseconds
const PATIENCE = 8; // repeats before the panel reports it; the message still arrives in the end

export async function openLine(model) {
  const id = String(model.get("line")).replace("IPY_MODEL_", "");
  const line = await model.widget_manager.get_model(id);
  const waiting = new Map();
  const listeners = new Set();
  const receive = (content) => {
    waiting.get(content.heard)?.();
    waiting.delete(content.heard);
    if (content.heard === undefined) for (const listener of listeners) listener(content);
  };
  line.on("msg:custom", receive);
  return {
    send: (content) =>
      new Promise((resolve) => {
        const number = crypto.getRandomValues(new Uint32Array(4)).join("-");
        waiting.set(number, () => resolve(true));
        const knock = (left) => {
          if (!waiting.has(number)) return;
          if (left === 0) return resolve(false);
          line.send({ ...content, number });
          setTimeout(knock, REPEAT, left - 1);
        };
        knock(PATIENCE);
      }),
    listen: (callback) => listeners.add(callback),
    close: () => {
      waiting.clear();
      listeners.clear();
      line.off("msg:custom", receive);
    },
  };
}

// Calls `changed(true)` when the kernel that made a panel is gone, `changed(false)` when it is back.
export function watchKernel(model, changed) {
  let gone = false;
  function look() {
    const live = this?.model?.comm_live; // of the view, which anywidget calls this with
    if (live !== undefined && live === gone) changed((gone = !live));
  }
  model.on("comm_live_update", look);
  return () => model.off("comm_live_update", look);
}
