// The chooser: one button a holder, and a field for another's address.

import { openLine, watchKernel } from "../shared/channel.js";
import { keepFocus, make, ownKeys } from "../shared/elements.js";
import { field, form } from "./form.js";
import { post, serverBase } from "./server.js";

function remembered(address, press) {
  const row = make("li");
  const use = make("button", "", address);
  const remove = make("button", "s4s-connect-remove", "Remove");
  use.type = remove.type = "button";
  remove.setAttribute("aria-label", `Remove ${address} from this list`);
  use.addEventListener("click", () => press({ do: "use", url: address }));
  remove.addEventListener("click", () => press({ do: "remove", url: address }));
  row.append(use, remove);
  return row;
}

async function render({ model, el }) {
  const line = await openLine(model);
  const base = serverBase();
  const box = make("section", "s4s-connect s4s-choose");
  box.setAttribute("aria-label", "Choose a data holder");
  const giveKeysBack = ownKeys(box);
  const status = make("p", "s4s-connect-status");
  status.setAttribute("role", "status");
  const problem = make("p", "s4s-connect-problem");
  problem.setAttribute("role", "alert");
  const list = make("ul", "s4s-connect-holders");

  const press = async (content) => {
    if (model.get("picture").status) return; // one is being asked
    const { panel } = model.get("picture");
    if (base && (await post(base, `choice/${panel}`, content))) return;
    if (await line.send(content)) return;
    problem.hidden = false;
    problem.textContent = `The kernel is busy. Press ■, then write s4s.connect("…address…").`;
  };
  const sandbox = make("button", "s4s-go", "Practice holder");
  sandbox.type = "button";
  sandbox.addEventListener("click", () => press({ do: "use", url: "sandbox" }));
  const practice = make("div", "s4s-connect-row");
  practice.append(sandbox, make("span", "", "invented patients, nothing to sign up for"));
  const used = make("div");
  used.append(make("p", "s4s-connect-label", "Used before"), list);
  const other = field("FHIR address of another holder", "url", "url");
  other.input.placeholder = "https://";
  const another = form("s4s-connect-other", "Connect", [other], ({ url }) => {
    other.input.value = url; // to be mended, should it be wrong
    press({ do: "use", url });
  });
  another.noValidate = true; // the kernel says what is wrong with an address
  box.append(make("h3", "", "Which data holder?"), practice, used, another, status, problem);
  el.append(box);

  const show = () => {
    const picture = model.get("picture");
    const held = document.activeElement;
    list.replaceChildren(...picture.holders.map((address) => remembered(address, press)));
    if (held !== document.activeElement && held && !held.isConnected) other.input.focus();
    used.hidden = picture.holders.length === 0;
    another.hidden = !picture.others;
    if (status.textContent !== picture.status) status.textContent = picture.status;
    if (problem.textContent !== picture.problem) problem.textContent = picture.problem;
    status.hidden = !picture.status;
    problem.hidden = !picture.problem;
    const busy = String(Boolean(picture.status));
    box.setAttribute("aria-busy", busy);
    for (const button of box.querySelectorAll("button")) button.ariaDisabled = busy;
  };
  show();
  model.on("change:picture", show);
  const unwatch = watchKernel(model, (gone) => {
    problem.hidden = false;
    problem.textContent = gone ? "The kernel has restarted: run this cell again to choose." : "";
    for (const button of box.querySelectorAll("button")) button.ariaDisabled = String(gone);
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
