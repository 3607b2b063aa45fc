// The browser's end of line.py: `openLine(model)` gives back `send(content)`, a promise that
// is true once the kernel has the message, false when it is too busy to hear (no subshells).

const REPEAT = 250; // milliseconds
const PATIENCE = 8; // repeats before a person is told; the message still arrives in the end

async function openLine(model) {
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

// An element with text in it, never markup: what a holder wrote stays text.
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A notebook takes single keys as commands: "d d" deletes the cell, "x" cuts it, Enter edits it.
// What is pressed in a panel is the panel's, but for Ctrl+S and the like. JupyterLab's commands
// look for a mark on what has the focus, before any listener but the window's; the notebook
// itself listens around the panel. Gives back what undoes it.
function ownKeys(box) {
  const isOurs = ({ ctrlKey, metaKey, altKey }) => !(ctrlKey || metaKey || altKey);
  const mark = (event) => {
    if (!box.contains(event.target)) return;
    event.target.toggleAttribute("data-lm-suppress-shortcuts", isOurs(event));
  };
  window.addEventListener("keydown", mark, true);
  box.addEventListener("keydown", (event) => isOurs(event) && event.stopPropagation());
  return () => window.removeEventListener("keydown", mark, true);
}

// A panel that goes away with the focus in it must not throw a keyboard user to the page's top.
function keepFocus(el) {
  const cell = el.closest(".jp-Cell, .jp-Notebook");
  if (cell && el.contains(document.activeElement)) cell.focus();
}
