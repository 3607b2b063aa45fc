// What every panel is built with: elements with text, keyboard handling, focus.

// An element with text in it, never markup: what a holder wrote stays text.
export function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A notebook takes single keys as commands: "d d" deletes the cell, "x" cuts it, Enter edits it.
// What is pressed in a panel is the panel's, but for Ctrl+S and the like. JupyterLab's commands
// look for a mark on what has the focus, before any listener but the window's; the notebook
// itself listens around the panel. Gives back what undoes it.
export function ownKeys(box) {
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
export function keepFocus(el) {
  const cell = el.closest(".jp-Cell, .jp-Notebook");
  if (cell && el.contains(document.activeElement)) cell.focus();
}
