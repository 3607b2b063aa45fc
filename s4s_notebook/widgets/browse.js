// The browse panel's lists. The kernel filters, sorts and words; here rows become a table.

const PAGE = 50;
const AGAIN = 3000; // milliseconds without an answer after which a question is asked again
const TYPING = 250; // milliseconds of silence before what is typed is asked for

// One table with filters above and the line of code below it.
class List {
  constructor(name, title, panel) {
    this.name = name;
    this.panel = panel;
    this.asked = { offset: 0, sort: "", descending: false };
    this.ticked = new Set();
    this.number = 0;
    this.again = 0;
    this.node = make("div", "s4s-list");
    this.filters = make("div", "s4s-filters");
    this.text = this.#filter("Text", "search");
    this.kind = this.#choice(name === "studies" ? "Modality" : "Type");
    this.since = this.#filter("From", "date");
    this.until = this.#filter("To", "date");
    this.table = make("table");
    this.table.append(make("caption", "s4s-spoken", title));
    const scroll = make("div", "s4s-scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", title);
    scroll.append(this.table);
    this.where = make("span");
    this.where.setAttribute("role", "status");
    const back = this.#step("Previous", -PAGE);
    const on = this.#step("Next", PAGE);
    this.steps = [back, on];
    const foot = make("div", "s4s-foot");
    foot.append(this.where, back, on);
    this.node.append(this.filters, scroll, foot);
  }

  #labelled(text, input) {
    const label = make("label", "", text);
    label.append(input);
    this.filters.append(label);
    return input;
  }

  #filter(text, type) {
    const input = document.createElement("input");
    input.type = type;
    let timer = 0;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.ask({ offset: 0 }), TYPING);
    });
    return this.#labelled(text, input);
  }

  #choice(text) {
    const select = document.createElement("select");
    select.addEventListener("change", () => this.ask({ offset: 0 }));
    return this.#labelled(text, select);
  }

  #step(text, by) {
    const button = make("button", "", text);
    button.type = "button";
    button.addEventListener("click", () => this.ask({ offset: this.asked.offset + by }));
    return button;
  }

  offer(kinds) {
    const all = make("option", "", "all");
    all.value = "";
    this.kind.replaceChildren(all, ...kinds.map((kind) => make("option", "", kind)));
  }

  ask(change = {}) {
    Object.assign(this.asked, change);
    this.number += 1;
    clearTimeout(this.again);
    this.again = setTimeout(() => this.ask(), AGAIN);
    this.panel.line.send({
      do: "page", table: this.name, ask: this.number, ...this.asked, text: this.text.value,
      kind: this.kind.value, since: this.since.value, until: this.until.value });
  }

  show(page) {
    if (page.ask !== this.number) return; // an older question's answer
    clearTimeout(this.again);
    const { columns, names } = this.panel.state;
    this.table.tHead?.remove();
    this.table.tBodies[0]?.remove();
    this.table.append(this.#head(columns[this.name], names[this.name]));
    const body = make("tbody");
    page.rows.forEach((row, place) => body.append(this.#row(row, page.can?.[place])));
    this.table.append(body);
    const last = page.offset + page.rows.length;
    this.where.textContent = page.total
      ? `${(page.offset + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ` +
        page.total.toLocaleString("en")
      : "Nothing passes the filter.";
    this.steps[0].disabled = page.offset === 0;
    this.steps[1].disabled = last >= page.total;
    this.panel.teach(page.code);
  }

  #head(columns, names) {
    const row = make("tr");
    const tick = make("th");
    tick.scope = "col";
    tick.append(make("span", "s4s-spoken", "Chosen"));
    row.append(tick);
    columns.forEach((text, place) => {
      const cell = make("th");
      cell.scope = "col";
      const button = make("button", "s4s-sort", text);
      button.type = "button";
      const sorted = this.asked.sort === names[place];
      const order = this.asked.descending ? "descending" : "ascending";
      cell.setAttribute("aria-sort", sorted ? order : "none");
      button.addEventListener("click", () => {
        const descending = sorted && !this.asked.descending;
        this.ask({ offset: 0, sort: names[place], descending });
      });
      cell.append(button);
      row.append(cell);
    });
    const act = make("th");
    act.scope = "col";
    act.append(make("span", "s4s-spoken", "What to do"));
    row.append(act);
    const head = make("thead");
    head.append(row);
    return head;
  }

  #row([key, ...cells], can) {
    const row = make("tr");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = this.ticked.has(key);
    box.setAttribute("aria-label", `Choose ${cells.slice(0, 3).join(" ")}`);
    box.addEventListener("change", () => {
      if (box.checked) this.ticked.add(key);
      else this.ticked.delete(key);
      this.panel.line.send({ do: "tick", table: this.name, keys: [...this.ticked] });
    });
    const first = make("td");
    first.append(box);
    row.append(first, ...cells.map((text) => make("td", "", text)));
    const act = make("td");
    act.append(...this.#act(key, cells, can));
    row.append(act);
    return row;
  }

  #act(key, cells, can) {
    if (can === "no") return [make("span", "s4s-quiet", "not offered")];
    const words = this.name === "benefits" ? "Lines" : can === "here" ? "View" : "Download";
    const button = make("button", "", words);
    button.type = "button";
    button.setAttribute("aria-label", `${words}: ${cells.slice(0, 3).join(" ")}`);
    button.addEventListener("click", () => {
      if (this.name === "benefits") this.panel.askLines(key);
      else this.panel.open(key, button);
    });
    return [button];
  }
}

class Panel {
  constructor(line) {
    this.line = line;
    this.state = null;
    this.number = 0;
    this.node = make("section", "s4s-browse");
    this.node.setAttribute("aria-label", "Browse this record");
    // A notebook takes single keys as commands; what is pressed here is ours.
    this.node.dataset.lmSuppressShortcuts = "true";
    this.who = make("dl");
    this.note = make("p", "s4s-note", "Loading what was approved…");
    this.note.setAttribute("role", "status");
    this.tabs = make("div", "s4s-tabs");
    this.tabs.setAttribute("role", "tablist");
    this.body = make("div");
    this.code = make("code");
    const copy = make("button", "", "Copy");
    copy.type = "button";
    copy.addEventListener("click", () => navigator.clipboard?.writeText(this.code.textContent));
    this.taught = make("div", "s4s-code");
    this.taught.append(make("span", "s4s-quiet", "The same in Python: "), this.code, copy);
    this.taught.hidden = true;
    this.node.append(this.who, this.note, this.tabs, this.body, this.taught);
  }

  // A kernel that starts or is busy may lose a message; a question costs little.
  pull() {
    if (this.closed || this.phase === "ready" || this.phase === "failed") return;
    this.line.send({ do: "state" });
    setTimeout(() => this.pull(), AGAIN);
  }

  close() {
    this.closed = true;
    for (const list of Object.values(this.lists ?? {})) clearTimeout(list.again);
    this.line.close();
  }

  teach(code) {
    this.code.textContent = code;
    this.taught.hidden = false;
  }

  start(state) {
    this.phase = state.phase;
    this.note.textContent = state.note;
    this.note.hidden = !state.note;
    if (state.phase !== "ready") {
      if (state.phase === "loading") this.note.textContent = "Loading what was approved…";
      this.note.hidden = false;
      return;
    }
    const first = this.state === null;
    this.state = state;
    this.who.replaceChildren();
    for (const [label, text] of state.banner) {
      const fact = make("div");
      fact.append(make("dt", "", label), make("dd", "", text));
      this.who.append(fact);
    }
    if (!first) return;
    this.lists = {
      studies: new List("studies", "Imaging studies", this),
      benefits: new List("benefits", "Insurance claims", this) };
    for (const [name, list] of Object.entries(this.lists)) list.offer(state.kinds[name]);
    this.benefits = make("div");
    this.lines = make("div", "s4s-lines");
    this.benefits.append(this.#sums(), this.lists.benefits.node, this.lines);
    this.pages = [
      this.#tab(`Studies (${state.counts.studies})`, this.lists.studies.node, "studies"),
      this.#tab(`Benefits (${state.counts.benefits})`, this.benefits, "benefits")];
    this.show(0);
  }

  #tab(text, node, name) {
    const place = this.tabs.childElementCount;
    const id = `s4s-${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
    const tab = make("button", "", text);
    tab.type = "button";
    tab.id = id;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", `${id}-page`);
    tab.addEventListener("click", () => this.show(place));
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const to = (place + by + this.pages.length) % this.pages.length;
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

  show(place) {
    this.pages.forEach(({ tab, node }, other) => {
      tab.setAttribute("aria-selected", String(other === place));
      tab.tabIndex = other === place ? 0 : -1;
      node.hidden = other !== place;
    });
    this.lists[this.pages[place].name].ask();
  }

  #sums() {
    const { totals, months } = this.state;
    const node = make("div", "s4s-sums");
    if (!totals.length) return node;
    node.append(plainTable("Claims by type", ["Type", "Claims", "Charged", "Paid", "Currency"], totals));
    if (months.length) node.append(monthChart(months, totals[0][4]));
    return node;
  }

  askLines(claim) {
    this.number += 1;
    this.line.send({ do: "lines", claim, ask: this.number, offset: 0 });
  }

  showLines(page) {
    if (page.ask !== this.number) return;
    const rows = page.rows.map(([, ...cells]) => cells);
    const title = `Lines of the claim: ${rows.length} of ${page.total}`;
    this.lines.replaceChildren(plainTable(title, this.state.columns.benefit_lines, rows));
    this.lines.tabIndex = -1;
    this.lines.focus();
    this.teach(page.code);
  }

  open(study, button) {
    button.disabled = true;
    this.line.send({ do: "open", study });
    setTimeout(() => (button.disabled = false), 2000);
  }

  receive({ state, page, problem, opened, changed }) {
    if (state) this.start(state);
    if (page?.table === "benefit_lines") this.showLines(page);
    else if (page) this.lists[page.table].show(page);
    if (opened) this.teach(`study = await me.download(${JSON.stringify(opened)}); study.view()`);
    if (changed) this.lists.studies.ask();
    if (problem !== undefined) {
      for (const list of Object.values(this.lists ?? {})) clearTimeout(list.again);
      this.note.textContent = problem;
      this.note.hidden = !problem;
    }
  }
}

function plainTable(title, columns, rows) {
  const table = make("table");
  table.append(make("caption", "", title));
  const head = make("tr");
  for (const text of columns) {
    const cell = make("th", "", text);
    cell.scope = "col";
    head.append(cell);
  }
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  for (const cells of rows) {
    const row = make("tr");
    row.append(...cells.map((text) => make("td", "", text)));
    body.append(row);
  }
  table.append(top, body);
  return table;
}

async function render({ model, el }) {
  const line = await openLine(model);
  const panel = new Panel(line);
  el.append(panel.node);
  line.listen((content) => panel.receive(content));
  panel.pull();
  return () => panel.close();
}

export default { render };
