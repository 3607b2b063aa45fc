// One table with filters above it. The kernel filters, sorts and words; here rows are drawn.

import { make } from "../shared/elements.js";
import { PendingRequest } from "./request.js";
import { Steps, cellsOf, headCell, press } from "./table.js";

const TYPING = 250; // milliseconds of silence before what is typed is asked for

export class List {
  constructor(name, title, panel) {
    this.name = name;
    this.panel = panel;
    this.query = { offset: 0, sort: "", descending: false };
    this.ticked = new Set();
    this.pending = new PendingRequest(panel.line);
    this.node = make("div", "s4s-list");
    this.filters = make("div", "s4s-filters");
    this.text = this.#filter("Text", "search");
    this.kind = this.#choice(name === "studies" ? "Modality" : "Kind");
    this.since = this.#filter("From", "date");
    this.until = this.#filter("To", "date");
    this.table = make("table");
    this.table.append(make("caption", "s4s-spoken", title));
    const scroll = make("div", "s4s-scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", title);
    scroll.append(this.table);
    this.steps = new Steps((offset) => this.ask({ offset }));
    this.node.append(this.filters, scroll, this.steps.node);
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

  offer(kinds) {
    const all = make("option", "", "all");
    all.value = "";
    this.kind.replaceChildren(all, ...kinds.map((kind) => make("option", "", kind)));
  }

  // `teaches`: the line of code becomes this list's; not where a list is only brought up to date.
  ask(change = {}, { teaches = true } = {}) {
    this.teaches = teaches;
    Object.assign(this.query, change);
    this.pending.ask({
      do: "page", table: this.name, ...this.query, text: this.text.value,
      kind: this.kind.value, since: this.since.value, until: this.until.value });
  }

  show(page) {
    if (!this.pending.answers(page)) return;
    const { columns, names, numbers, counts } = this.panel.state;
    const held = this.table.contains(document.activeElement) && document.activeElement.dataset.at;
    this.table.tHead?.remove();
    this.table.tBodies[0]?.remove();
    const body = make("tbody");
    page.rows.forEach((row, index) => body.append(this.#row(row, numbers[this.name], page.can?.[index])));
    this.table.append(this.#head(columns[this.name], names[this.name], numbers[this.name]), body);
    // What was pressed is drawn anew; a keyboard stays where it was.
    if (held) this.table.querySelector(`[data-at="${CSS.escape(held)}"]`)?.focus();
    const kind = this.name === "studies" ? "studies" : "claims";
    const none = counts[this.name] ? "Nothing passes the filter." : `This record has no ${kind}.`;
    this.steps.show(page, none);
    if (this.teaches) this.panel.teach(page.code);
  }

  #head(columns, names, numbers) {
    const row = make("tr");
    const [tick, act] = [headCell(""), headCell("")];
    tick.append(make("span", "s4s-spoken", "Chosen"));
    act.append(make("span", "s4s-spoken", "What to do"));
    const sorters = columns.map((text, index) => this.#sorter(text, names[index], numbers[index]));
    row.append(tick, ...sorters, act);
    const head = make("thead");
    head.append(row);
    return head;
  }

  #sorter(text, name, isNumber) {
    const sorted = this.query.sort === name;
    const cell = headCell("", isNumber);
    const order = this.query.descending ? "descending" : "ascending";
    cell.setAttribute("aria-sort", sorted ? order : "none");
    const button = press(text, () =>
      this.ask({ offset: 0, sort: name, descending: sorted && !this.query.descending }));
    button.className = "s4s-sort";
    button.dataset.at = `sort ${name}`;
    cell.append(button);
    return cell;
  }

  #row([key, ...cells], numbers, can) {
    const called = cells.slice(0, 3).join(" ");
    const row = make("tr");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = this.ticked.has(key);
    box.dataset.at = `tick ${key}`;
    box.setAttribute("aria-label", `Choose ${called}`);
    box.addEventListener("change", () => {
      if (box.checked) this.ticked.add(key);
      else this.ticked.delete(key);
      this.panel.line.send({ do: "tick", table: this.name, keys: [...this.ticked] });
    });
    const [first, last] = [make("td"), make("td")];
    first.append(box);
    last.append(this.#act(key, called, can));
    row.append(first, ...cellsOf(cells, numbers), last);
    return row;
  }

  #act(key, called, can) {
    if (can === "no") return make("span", "s4s-quiet", "not offered");
    const words = this.name === "benefits" ? "Lines" : can === "here" ? "View" : "Download";
    const button = press(words, () => {
      if (this.name === "benefits") this.panel.lines.of(key);
      else this.panel.open(key, button);
    });
    button.dataset.at = `act ${key}`;
    button.setAttribute("aria-label", `${words}: ${called}`);
    return button;
  }
}
