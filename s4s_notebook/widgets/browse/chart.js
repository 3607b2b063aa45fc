// A small bar chart, one bar a month, that a screen reader and a mouse can ask.

import { make } from "../shared/elements.js";

const WIDEST = 40; // a bar of few months
const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const money = (amount) =>
  amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

// `months` is [["2016-02", 12.5], …] without gaps.
export function monthChart(months, currency) {
  const [width, height, left, bottom] = [640, 140, 64, 20];
  const highest = Math.max(...months.map(([, amount]) => amount), 0) || 1;
  const step = (width - left) / months.length;
  const y = (amount) => (height - bottom) * (1 - Math.max(amount, 0) / highest);
  const [top] = months.reduce((best, each) => (each[1] > best[1] ? each : best), months[0]);
  const words =
    `Paid by month, ${months[0][0]} to ${months.at(-1)[0]}; ` +
    `the most was ${money(highest)} ${currency} in ${top}`;
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words, class: "s4s-chart" });
  svg.append(draw("line", { x1: left, x2: width, y1: height - bottom, y2: height - bottom }));
  svg.append(draw("text", { x: left - 4, y: 10, "text-anchor": "end" }, money(highest)));
  svg.append(draw("text", { x: left - 4, y: height - bottom, "text-anchor": "end" }, "0"));
  svg.append(draw("text", { x: left, y: height - 5 }, months[0][0]));
  const since = Number(months[0][0].slice(0, 4));
  const every = Math.max(1, Math.ceil(60 / (step * 12))); // years from one label to the next
  months.forEach(([month, amount], index) => {
    const bar = draw("rect", {
      x: left + index * step + step * 0.1, y: y(amount),
      width: Math.min(Math.max(step * 0.8, 0.5), WIDEST), height: height - bottom - y(amount) });
    bar.append(draw("title", {}, `${month}: ${money(amount)} ${currency}`));
    svg.append(bar);
    const [year, number] = month.split("-").map(Number);
    const marked = number === 1 && (year - since) % every === 0 && width - left - index * step > 30;
    if (marked && index * step > 60) {
      svg.append(draw("text", { x: left + index * step, y: height - 5 }, String(year)));
    }
  });
  const figure = document.createElement("figure");
  figure.append(make("figcaption", "", `Paid by month, in ${currency}`), svg);
  return figure;
}
