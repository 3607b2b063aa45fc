// One wait or transfer: a bar, one line of text, Cancel. The kernel words the text (progress.py).

import { findRoute, isWebAddress } from "../connect/route.js";
import { openLine, watchKernel } from "../shared/channel.js";
import { keepFocus, make, ownKeys } from "../shared/elements.js";

// What has to be pressed comes into view: Run All ends at the last cell.
function bringIntoView(box) {
  const { top, bottom } = box.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) box.scrollIntoView({ block: "center" });
}

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
  const go = make("a", "s4s-go", "Authorise");
  go.target = "_blank";
  go.rel = "noopener noreferrer";
  go.title = "Opens the holder's page in a new tab";
  go.hidden = true;
  box.append(bar, text, go, cancel, spoken);
  el.append(box);
  const line = await openLine(model);
  let asked = false;
  const lead = (found) => {
    if (!found || !model.get("picture").authorise) return;
    go.href = found.href;
    go.hidden = false;
    bringIntoView(box);
  };
  line.listen((content) => {
    if (isWebAddress(content.link)) lead({ href: content.link });
  });
  const authorise = async (picture) => {
    if (!picture.authorise) {
      go.hidden = true;
      asked = false;
    } else if (!asked) {
      asked = true;
      lead(await findRoute(picture, line));
    } else if (picture.local && go.hidden) lead(await findRoute(picture, line));
  };

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
    authorise(state);
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

  const press = async () => {
    if (cancel.ariaDisabled === "true") return;
    cancel.ariaDisabled = "true"; // not `disabled`: that would throw the keyboard out of it
    cancel.textContent = "Cancelling…";
    const heard = await line.send({ do: "cancel" });
    if (!heard) cancel.textContent = "The kernel is busy: press ■ to stop";
  };
  cancel.addEventListener("click", press);
  const unwatch = watchKernel(model, (gone) => {
    if (!gone || model.get("picture").ended) return;
    text.textContent = "The kernel has restarted: this has ended. Run the cell again.";
    bar.hidden = cancel.hidden = go.hidden = true;
  });
  return () => {
    unwatch();
    keepFocus(el);
    giveKeysBack();
    model.off("change:picture", show);
    line.close();
  };
}

export default { render };
