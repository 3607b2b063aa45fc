// Labelled fields and the button that hands in what was typed.

import { make } from "../shared/elements.js";

export function field(text, type, name) {
  const label = make("label", "", text);
  const input = document.createElement("input");
  input.type = type;
  input.name = name;
  input.autocomplete = "off";
  input.spellcheck = false;
  input.required = name !== "client_secret";
  label.append(document.createElement("br"), input);
  return { label, input };
}

export function form(className, button, fields, submit) {
  const node = make("form", `s4s-connect-row ${className}`);
  const press = make("button", "", button);
  press.type = "submit";
  for (const { label } of fields) node.append(label);
  node.append(press);
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = Object.fromEntries(fields.map(({ input }) => [input.name, input.value.trim()]));
    for (const { input } of fields) input.value = ""; // a code or a secret is not left on show
    submit(values);
  });
  return node;
}
