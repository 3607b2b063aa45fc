// The browse panel: who it is, two lists behind tabs, and the line of Python that does the same.

import { openLine, watchKernel } from "../shared/channel.js";
import { make, ownKeys } from "../shared/elements.js";
import { monthChart } from "./chart.js";
import { Lines } from "./claim_lines.js";
import { List } from "./record_list.js";
import { REPEAT } from "./request.js";
import { press, tableOf } from "./table.js";

class Panel {
  constructor(line) {
    this.line = line;
    this.state = null;
    this.node = make("section", "s4s-browse");
    this.node.setAttribute("aria-label", "Browse this record");
    this.giveKeysBack = ownKeys(this.node);
    this.who = make("dl");
    this.note = make("p", "s4s-note");
    this.note.setAttribute("role", "status");
    this.tabs = make("div", "s4s-tabs");
    this.tabs.setAttribute("role", "tablist");
    this.body = make("div");
    this.code = make("code");
    this.taught = make("div", "s4s-code");
    this.taught.append(make("span", "s4s-quiet", "The same in Python:"), this.code);
    // A page without https may not write to the clipboard.
    if (navigator.clipboard) this.taught.append(this.#copier());
    this.taught.hidden = true;
    this.node.append(this.who, this.note, this.tabs, this.body, this.taught);
    this.#say("Loading what was approved…");
  }

  #copier() {
    const copy = press("Copy", async () => {
      await navigator.clipboard.writeText(this.code.textContent);
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 2000);
    });
    return copy;
  }

  #say(words, isProblem = false) {
    this.note.textContent = words;
    this.note.hidden = !words;
    this.note.classList.toggle("s4s-problem", isProblem);
  }

  // A kernel that starts or is busy may lose a message; a question costs little.
  pull() {
    if (this.closed || this.phase === "ready" || this.phase === "failed") return;
    this.line.send({ do: "state" });
    setTimeout(() => this.pull(), REPEAT);
  }

  close() {
    this.closed = true;
    this.giveKeysBack();
    this.#stopAsking();
    this.line.close();
  }

  #stopAsking() {
    for (const part of [...Object.values(this.lists ?? {}), this.lines]) part?.pending.stop();
  }

  teach(code) {
    this.code.textContent = code;
    this.taught.hidden = false;
  }

  start(state) {
    this.phase = state.phase;
    if (state.phase !== "loading") this.#say(state.note, state.phase === "failed");
    if (state.phase !== "ready") return;
    const isFirst = this.state === null;
    this.state = state;
    this.who.replaceChildren(...state.banner.map(([label, text]) => {
      const fact = make("div");
      fact.append(make("dt", "", label), make("dd", "", text));
      return fact;
    }));
    if (isFirst) this.#build(state);
  }

  #build({ kinds, counts }) {
    this.lists = {
      studies: new List("studies", "Imaging studies", this),
      benefits: new List("benefits", "Insurance claims", this) };
    for (const [name, list] of Object.entries(this.lists)) list.offer(kinds[name]);
    this.lines = new Lines(this);
    const benefits = make("div");
    benefits.append(this.#sums(), this.lists.benefits.node, this.lines.node);
    this.pages = [
      this.#tab(`Studies (${counts.studies})`, this.lists.studies.node, "studies"),
      this.#tab(`Benefits (${counts.benefits})`, benefits, "benefits")];
    this.show(0);
  }

  #tab(text, node, name) {
    const index = this.tabs.childElementCount;
    const id = `s4s-${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
    const tab = press(text, () => this.show(index));
    tab.id = id;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", `${id}-page`);
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const to = (index + by + this.pages.length) % this.pages.length;
      this.show(to);
      this.pages[to].tab.focus();
    });
    node.id = `${id}-page`;
    node.setAttribute("role", "tabpanel");
    node.setAttribute("aria-labelledby", id);
    this.tabs.append(tab);
    this.body.append(node);
    return { tab, node, name };
  }

  show(index) {
    this.pages.forEach(({ tab, node }, other) => {
      tab.setAttribute("aria-selected", String(other === index));
      tab.tabIndex = other === index ? 0 : -1;
      node.hidden = other !== index;
    });
    this.lists[this.pages[index].name].ask();
  }

  #sums() {
    const { totals, months, currency } = this.state;
    const node = make("div", "s4s-sums");
    if (!totals.length) return node;
    const columns = ["Kind", "Claims", "Charged", "Paid", "Currency"];
    const numbers = [false, true, true, true, false];
    node.append(tableOf("Claims by type", columns, numbers, totals));
    if (months.length) node.append(monthChart(months, currency));
    return node;
  }

  open(study, button) {
    if (button.ariaBusy === "true") return; // pressed twice
    button.ariaBusy = "true";
    this.line.send({ do: "open", study });
    setTimeout(() => (button.ariaBusy = "false"), 2000);
  }

  receive({ state, page, problem, code, changed }) {
    if (state) this.start(state);
    if (page?.table === "benefit_lines") this.lines.show(page);
    else if (page) this.lists[page.table].show(page);
    if (code) this.teach(code);
    if (changed) this.lists.studies.ask({}, { teaches: false });
    if (problem) this.#stopAsking();
    if (problem !== undefined) this.#say(problem, true);
  }
}

async function render({ model, el }) {
  const line = await openLine(model);
  const panel = new Panel(line);
  el.append(panel.node);
  line.listen((content) => panel.receive(content));
  panel.pull();
  const unwatch = watchKernel(model, (gone) => {
    el.querySelector(".s4s-gone")?.remove();
    if (gone) el.prepend(make("p", "s4s-gone", "The kernel has restarted: run this cell again."));
  });
  return () => {
    unwatch();
    panel.close();
  };
}

export default { render };
