// One wait or transfer: a bar, one line of text, Cancel. The kernel words the text (progress.py).

import { openLine } from "../shared/channel.js";
import { keepFocus, make, ownKeys } from "../shared/elements.js";

const SPEAK_EVERY = 20000; // milliseconds between countdowns read aloud

async function render({ model, el }) {
  const box = make("div", "s4s-progress");
  box.setAttribute("role", "group");
  const giveKeysBack = ownKeys(box);
  const bar = document.createElement("progress");
  const text = make("span", "s4s-progress-text");
  const spoken = make("span", "s4s-spoken");
  spoken.setAttribute("role", "status");
  const cancel = make("button", "", "Cancel");
  cancel.type = "button";
  box.append(bar, text, cancel, spoken);
  el.append(box);

  let phase = "";
  let spokenAt = 0;
  const show = () => {
    const state = model.get("picture");
    box.setAttribute("aria-label", state.label);
    bar.setAttribute("aria-label", state.label);
    text.textContent = state.text;
    box.className = `s4s-progress s4s-progress-${state.phase}`;
    if (state.share === null) bar.removeAttribute("value");
    else bar.value = state.share;
    bar.setAttribute("aria-valuetext", state.text);
    bar.hidden = cancel.hidden = state.ended;
    // Every tick on screen, but a voice only when something changed or now and then.
    if (state.phase !== phase || Date.now() - spokenAt > SPEAK_EVERY) {
      spoken.textContent = state.text;
      spokenAt = Date.now();
      phase = state.phase;
    }
    if (state.ended) keepFocus(cancel);
  };
  show();
  model.on("change:picture", show);

  const line = await openLine(model);
  const press = async () => {
    if (cancel.ariaDisabled === "true") return;
    cancel.ariaDisabled = "true"; // not `disabled`: that would throw the keyboard out of it
    cancel.textContent = "Cancelling…";
    const heard = await line.send({ do: "cancel" });
    if (!heard) cancel.textContent = "The kernel is busy: press ■ to stop";
  };
  cancel.addEventListener("click", press);
  return () => {
    keepFocus(el);
    giveKeysBack();
    model.off("change:picture", show);
    line.close();
  };
}

export default { render };
