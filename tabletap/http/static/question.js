// A question in a dialog: some fields, and a button that does what it says. It stays open while the server refuses.
import { byId, el, kindly, tell } from "./common.js";

/** "12.5" -> 1250, or null where it is no amount. */
export function cents(text) {
  const read = /^\s*\$?\s*(\d{1,6})(?:\.(\d{1,2}))?\s*$/.exec(text);
  return read && Number(read[1]) * 100 + Number((read[2] ?? "").padEnd(2, "0"));
}

const asText = (amount) => (amount / 100).toFixed(2);

let pending = null; // {fields, act}

/**
 * `fields`: [{name, label, kind: "money" | "choice" | "many" | "text", value, quick: amounts, options: [[value, text]]}].
 * `act({name: value})`: amounts in cents, of many an array; what it throws is shown. It may ask the next question.
 */
export function question({ title, about = "", verb, fields, act }) {
  pending = { fields, act };
  byId("ask-title").textContent = title;
  byId("ask-about").textContent = about;
  byId("ask-do").textContent = verb;
  byId("ask-do").disabled = false;
  byId("ask-fields").replaceChildren(...fields.flatMap(field));
  tell(byId("ask-error"), null);
  if (!byId("ask").open) byId("ask").showModal();
  byId("ask-fields").querySelector("input, select")?.select?.();
}

function field({ name, label, kind, value, quick = [], options = [] }) {
  const id = `ask-${name}`;
  if (kind === "choice") {
    const choices = options.map(([each, text]) => el("option", { value: each, text }));
    return [labelled(id, label, el("select", { id }, choices))];
  }
  if (kind === "many") {
    const boxes = options.map(([each, text]) => el("label", { class: "tick" }, el("input", { type: "checkbox", value: each }), text));
    return [el("fieldset", { id, class: "field" }, el("legend", { text: label }), boxes)];
  }
  const input = kind === "money"
    ? el("input", { id, value: value === undefined ? "" : asText(value), inputmode: "decimal", autocomplete: "off" })
    : el("input", { id, value: value ?? "", maxlength: 200, autocomplete: "off" });
  const notes = quick.map((amount) => el("button", {
    type: "button", text: asText(amount), on: { click: () => { input.value = asText(amount); } },
  }));
  return [labelled(id, label, input), notes.length ? el("div", { class: "row quick", role: "group", "aria-label": "Amounts" }, notes) : ""];
}

function valueOf({ name, kind }) {
  const control = byId(`ask-${name}`);
  if (kind === "many") return [...control.querySelectorAll(":checked")].map(({ value }) => value);
  const text = control.value.trim();
  return kind === "money" ? cents(text) : text;
}

const labelled = (id, text, control) => el("div", { class: "field" }, el("label", { for: id, text }), control);

async function submit(event) {
  event.preventDefault();
  const values = {};
  for (const asked of pending.fields) {
    const { name, label } = asked;
    values[name] = valueOf(asked);
    if (values[name] === null) {
      tell(byId("ask-error"), [`${label}: please enter an amount such as 12.50.`]);
      byId(`ask-${name}`).focus();
      return;
    }
  }
  tell(byId("ask-error"), null);
  byId("ask-do").disabled = true;
  const asked = pending;
  try {
    await asked.act(values);
    if (pending === asked) byId("ask").close();
  } catch (error) {
    tell(byId("ask-error"), kindly(error));
  } finally {
    if (pending === asked) byId("ask-do").disabled = false;
  }
}

byId("ask-form").addEventListener("submit", submit);
byId("ask-close").addEventListener("click", () => byId("ask").close());
byId("ask").addEventListener("click", ({ target }) => { if (target === byId("ask")) target.close(); });
