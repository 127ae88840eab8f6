// Tables on the sheets of a page that is read at a desk.
import { byId, el } from "./common.js";

export const cell = (text, props = {}) => el("td", { text: text ?? "", ...props });
export const when = (time) => (time ? new Date(time).toLocaleString("en-AU", { dateStyle: "short", timeStyle: "medium" }) : "");
export const button = (text, act, label = text) => el("button", { type: "button", text, "aria-label": label, on: { click: act } });

/** Replaces the rows where they have changed, so that a button under somebody's finger stays. */
export function rows(table, made) {
  const body = byId(table).tBodies[0];
  const now = made.map((row) => row.textContent).join("\n");
  if (body.dataset.drawn === now) return;
  body.dataset.drawn = now;
  body.replaceChildren(...made);
}
