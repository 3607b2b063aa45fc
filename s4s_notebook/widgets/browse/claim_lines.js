// The lines of one claim, a page at a time, below the list of claims.

import { make } from "../shared/elements.js";
import { PendingRequest } from "./request.js";
import { PAGE, Steps, tableOf } from "./table.js";

export class Lines {
  constructor(panel) {
    this.panel = panel;
    this.pending = new PendingRequest(panel.line);
    this.node = make("div", "s4s-lines");
    this.node.tabIndex = -1;
    this.node.hidden = true;
    this.scroll = make("div", "s4s-scroll");
    this.scroll.tabIndex = 0;
    this.scroll.setAttribute("role", "region");
    this.scroll.setAttribute("aria-label", "Lines of the claim");
    this.steps = new Steps((offset) => this.#ask(offset));
    this.node.append(this.scroll, this.steps.node);
  }

  of(claim) {
    this.claim = claim;
    this.isNew = true;
    this.#ask(0);
  }

  #ask(offset) {
    this.pending.ask({ do: "lines", claim: this.claim, offset });
  }

  show(page) {
    if (!this.pending.answers(page)) return;
    const rows = page.rows.map(([, ...cells]) => cells);
    const title = `Lines of the claim: ${page.total.toLocaleString("en")}`;
    const { columns, numbers } = this.panel.state;
    const table = tableOf(title, columns.benefit_lines, numbers.benefit_lines, rows);
    this.scroll.replaceChildren(table);
    this.steps.show(page, "This claim has no lines.");
    this.steps.node.hidden = page.total > 0 && page.total <= PAGE; // the title has said it
    this.node.hidden = false;
    if (this.isNew) this.node.focus();
    this.isNew = false;
    this.panel.teach(page.code);
  }
}
