// The Connect panel: one link to press, the state as text, other ways below.

import { openLine, watchKernel } from "../shared/channel.js";
import { make, ownKeys } from "../shared/elements.js";
import { field, form } from "./form.js";
import { LOOPBACK, findRoute, isWebAddress } from "./route.js";
import { serverBase, serverHasOurPages } from "./server.js";

// Where the holder's page is to send the browser back to, for a client registered by hand.
async function redirectAddress() {
  const base = serverBase();
  if (await serverHasOurPages(base)) return `${location.origin}${base}s4s/callback`;
  return LOOPBACK.has(location.hostname) ? "http://127.0.0.1/callback (with any port)" : "";
}

async function render({ model, el }) {
  const line = await openLine(model);
  const box = make("section", "s4s-connect");
  const giveKeysBack = ownKeys(box);
  const title = make("h3");
  const facts = make("ul");
  const status = make("p", "s4s-connect-status");
  status.setAttribute("role", "status");
  const problem = make("p", "s4s-connect-problem");
  problem.setAttribute("role", "alert");
  const row = make("div", "s4s-connect-row");
  const go = make("a", "s4s-go", "Authorise");
  go.target = "_blank";
  go.rel = "noopener noreferrer";
  go.title = "Opens the holder's page in a new tab";
  const revoke = make("button", "", "Revoke");
  const forget = make("button", "", "Forget");
  const manage = make("a", "", "The holder's page for approvals");
  manage.target = "_blank";
  manage.rel = "noopener noreferrer";
  row.append(go, revoke, forget, manage);

  const credentials = form(
    "s4s-connect-client",
    "Use this client",
    [
      field("Client id that the holder gave you", "text", "client_id"),
      field("Client secret, if there is one", "password", "client_secret"),
    ],
    (values) => line.send({ do: "client", ...values }),
  );
  const register = make("p", "s4s-connect-register", "Register this app with the holder, with this redirect address: ");
  const back = make("code");
  register.append(back);
  register.hidden = true;
  credentials.prepend(register);
  const more = document.createElement("details");
  more.append(make("summary", "", "Did the page not come back here?"));
  const hint = make(
    "p",
    "",
    "Copy the whole address of the page that you landed on, even if it shows an error.",
  );
  more.append(
    hint,
    form("s4s-connect-paste", "Finish", [field("Address", "text", "url")], ({ url }) =>
      line.send({ do: "paste", url }),
    ),
  );
  box.append(title, status, facts, problem, row, credentials, more);
  el.append(box);

  let route = null;
  let lost = false; // the kernel that made this panel
  const useRoute = (found) => {
    if (!found) return;
    route = found;
    go.href = found.href;
    go.hidden = !model.get("picture").authorise;
    if (found.paste) more.open = true;
  };
  line.listen((content) => {
    if (isWebAddress(content.link)) useRoute({ href: content.link, paste: true });
  });
  const seek = async () => useRoute(await findRoute(model.get("picture"), line));

  const tellRedirect = async () => {
    back.textContent = await redirectAddress();
    register.hidden = !back.textContent;
  };

  const show = () => {
    const picture = model.get("picture");
    title.textContent = picture.title;
    box.setAttribute("aria-label", picture.title);
    facts.replaceChildren(...picture.facts.map((fact) => make("li", "", fact)));
    facts.hidden = picture.facts.length === 0;
    if (status.textContent !== picture.status) status.textContent = picture.status;
    if (problem.textContent !== picture.problem) problem.textContent = picture.problem;
    problem.hidden = !picture.problem;
    if (picture.problem && route?.paste) route = null; // a link is good for one attempt
    go.hidden = !picture.authorise || !route;
    credentials.hidden = !picture.client_form;
    if (picture.client_form && register.hidden) tellRedirect();
    more.hidden = !picture.authorise;
    if (picture.paste) more.open = true;
    revoke.hidden = forget.hidden = !picture.revocable;
    manage.hidden = !isWebAddress(picture.manage);
    if (!manage.hidden) manage.href = picture.manage;
    if (picture.authorise && !route) seek();
    row.hidden = lost;
    if (lost) {
      credentials.hidden = more.hidden = facts.hidden = problem.hidden = true;
      status.textContent = "The kernel has restarted: run this cell again to connect.";
    }
  };
  revoke.type = forget.type = "button";
  revoke.title = "Ask the holder to end this approval";
  forget.title = "Drop the approval here; the holder still lists it";
  let sure = null; // the timer of a question that nobody answers
  const unsure = () => {
    clearTimeout(sure);
    sure = null;
    revoke.textContent = "Revoke";
  };
  revoke.addEventListener("click", () => {
    if (sure === null) {
      revoke.textContent = "Revoke: press again to end the approval";
      sure = setTimeout(unsure, 8000);
      return;
    }
    unsure();
    line.send({ do: "revoke" });
  });
  revoke.addEventListener("blur", unsure);
  forget.addEventListener("click", () => line.send({ do: "forget" }));
  show();
  model.on("change:picture", show);
  const unwatch = watchKernel(model, (gone) => {
    lost = gone;
    show();
  });
  return () => {
    giveKeysBack();
    model.off("change:picture", show);
    unwatch();
    line.close();
  };
}

export default { render };
