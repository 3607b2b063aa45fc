// Tables, and the steps through their pages: what the lists and a claim's lines share.

import { make } from "../shared/elements.js";

export const PAGE = 50;

export function headCell(text, isNumber = false) {
  const cell = make("th", isNumber ? "s4s-number" : "", text);
  cell.scope = "col";
  return cell;
}

// `numbers` tells of each column whether it holds numbers.
export function cellsOf(texts, numbers) {
  return texts.map((text, index) => make("td", numbers[index] ? "s4s-number" : "", text));
}

export function tableOf(title, columns, numbers, rows) {
  const table = make("table");
  const head = make("tr");
  head.append(...columns.map((text, index) => headCell(text, numbers[index])));
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  for (const cells of rows) {
    const row = make("tr");
    row.append(...cellsOf(cells, numbers));
    body.append(row);
  }
  table.append(make("caption", "", title), top, body);
  return table;
}

export function press(text, action) {
  const button = make("button", "", text);
  button.type = "button";
  button.addEventListener("click", action);
  return button;
}

// "51–100 of 120", Previous and Next; `go` is given the offset of the page to show.
export class Steps {
  constructor(go) {
    this.offset = 0;
    this.where = make("span");
    this.where.setAttribute("role", "status");
    this.back = press("Previous", () => go(this.offset - PAGE));
    this.on = press("Next", () => go(this.offset + PAGE));
    this.node = make("div", "s4s-foot");
    this.node.append(this.where, this.back, this.on);
  }

  show({ offset, total, rows }, none) {
    const last = offset + rows.length;
    const [from, to, of] = [offset + 1, last, total].map((count) => count.toLocaleString("en"));
    this.offset = offset;
    this.where.textContent = total ? `${from}–${to} of ${of}` : none;
    this.back.disabled = offset === 0;
    this.on.disabled = last >= total;
    this.back.hidden = this.on.hidden = total <= PAGE;
  }
}
