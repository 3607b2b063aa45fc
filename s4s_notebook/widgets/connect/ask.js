// A question about an origin, shown while a cell or a download waits for the answer.

import { openLine } from "../shared/channel.js";
import { keepFocus, make, ownKeys } from "../shared/elements.js";

async function render({ model, el }) {
  const line = await openLine(model);
  const box = make("div", "s4s-ask");
  box.setAttribute("role", "alertdialog");
  box.setAttribute("aria-label", "A question from s4s");
  const giveKeysBack = ownKeys(box);
  const text = make("p", "", model.get("question"));
  const allow = make("button", "", "Allow");
  const refuse = make("button", "", "Refuse");
  const answer = async (allowed) => {
    if (allow.ariaDisabled === "true") return;
    allow.ariaDisabled = refuse.ariaDisabled = "true"; // stays in the keyboard's reach
    const heard = await line.send({ do: allowed ? "allow" : "refuse" });
    if (!heard) text.textContent = "The kernel is busy: press ■, then call again.";
  };
  allow.type = refuse.type = "button";
  allow.addEventListener("click", () => answer(true));
  refuse.addEventListener("click", () => answer(false));
  box.append(text, allow, refuse);
  el.append(box);
  return () => {
    keepFocus(el);
    giveKeysBack();
    line.close();
  };
}

export default { render };
