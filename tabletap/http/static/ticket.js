// One ticket of the kitchen board, as elements. Moves are asked of the board by data attributes, so that nothing
// has to be wired per ticket: data-move (and data-line for an item), data-item for the item's menu.
import { byId, clock, duration, el } from "./common.js";
import { ageLevel, alsoAt, clockFrom, NEXT, stationItems, unfinished } from "./orders.js";

export const MOVE_NAMES = { start: "Start", bump: "Done", recall: "Recall", hold: "Hold", fire: "Fire", void: "Void" };
const STATE = { queued: "", held: "Held", started: "Making", ready: "Done", served: "Served", voided: "Void" };

/** What `ticket` depends on: the same text means the same elements. */
export const signature = (order, station, busy) => JSON.stringify([order, station, [...busy].filter((key) => key.startsWith(order.id))]);

export function ticket(order, station, { busy, describe, stationName }) {
  const items = stationItems(order, station);
  const where = order.table ? `Table ${order.table}` : order.channel === "counter" ? "Counter" : "Pick up";
  const others = station === "all" ? [] : alsoAt(order, station);
  const cancelled = order.status === "cancelled";
  return el("article", { class: `ticket${cancelled ? " cancelled" : ""}`, "aria-label": `Order ${order.number}, ${where}`, data: { order: order.id } },
    el("header", { class: "ticket-head" },
      el("div", {}, el("h2", { text: `#${order.number}` }), el("p", { text: [where, order.customerName].filter(Boolean).join(" · ") })),
      el("div", { class: "ticket-time" }, el("span", { class: "timer", data: { timer: "" } }),
        el("small", { text: order.scheduledFor ? `for ${clock(order.scheduledFor)}` : order.paymentStatus === "completed" ? "Paid" : "" }))),
    cancelled ? el("p", { class: "stamp", text: "Cancelled" }) : null,
    order.note ? el("p", { class: "note", text: order.note }) : null,
    el("ul", {}, items.map((item) => row(order, item, station, busy, describe, stationName))),
    others.length ? el("p", { class: "also" }, "Also at ", others.map(({ station: name, open }, n) =>
      el("span", { class: open ? "" : "finished", text: `${n ? ", " : ""}${stationName(name)}${open ? ` (${open})` : " ✓"}` }))) : null,
    foot(order, items, station, busy));
}

function row(order, item, station, busy, describe, stationName) {
  const move = NEXT[item.status];
  const gone = item.status === "voided" && item.acknowledged;
  const words = describe(item).join(", ");
  const says = item.status === "voided" ? (gone ? "void, seen" : "void, tap to acknowledge") : `${STATE[item.status] || "queued"}${move ? `, tap to ${MOVE_NAMES[move].toLowerCase()}` : ""}`;
  const key = `${order.id}/${item.line}`;
  return el("li", { class: `row is-${item.status}${gone ? " is-gone" : ""}` },
    el("button", {
      type: "button", class: "item", disabled: !move || gone, "aria-busy": busy.has(key),
      "aria-label": `${item.quantity} ${item.name}${words ? `, ${words}` : ""}${item.note ? `, note: ${item.note}` : ""}${item.added ? ", added" : ""}: ${says}`,
      data: { move, line: item.line, key: `${key}/tap` },
    },
    el("span", { class: "times", text: String(item.quantity) }),
    el("span", { class: "what" },
      el("span", { class: "name" }, el("span", { class: "text", text: item.name }), item.added ? el("mark", { text: "Added" }) : null),
      words ? el("span", { class: "mods", text: words }) : null,
      item.note ? el("span", { class: "item-note", text: item.note }) : null,
      station === "all" ? el("span", { class: "at", text: stationName(item.station) }) : null),
    el("span", { class: "state", text: gone ? "Seen" : STATE[item.status] ?? item.status })),
    el("button", { type: "button", class: "dots", text: "⋯", "aria-label": `More for ${item.name}`, data: { item: item.line, key: `${key}/more` } }));
}

function foot(order, items, station, busy) {
  const act = (move, text, primary) => el("button", {
    type: "button", class: primary ? "primary" : "", text, "aria-busy": busy.has(order.id), data: { move, key: `${order.id}/${move}` },
  });
  if (order.status === "cancelled") return el("footer", {}, act("dismiss", "Got it", true));
  const open = items.filter(unfinished);
  if (station !== "all") return open.some(({ status }) => status !== "held") ? el("footer", {}, act("bump-all", "All done", true)) : null;
  const ready = order.status === "ready";
  return el("footer", {},
    ["pending", "payment_pending", "paid"].includes(order.status) ? act("start", "Start", false) : null,
    ready ? act("complete", order.table ? "Served" : "Collected", true) : act("ready", "Ready", !open.length));
}

/** Brings the clock and colour of a ticket up to date. */
export function tick(node, order, station, thresholds, now) {
  const from = clockFrom(order, station);
  const seconds = from === null ? 0 : (now - from) / 1000;
  const timer = node.querySelector("[data-timer]");
  timer.textContent = from === null ? "Held" : duration(seconds);
  const resting = from === null || order.status === "ready" || order.status === "cancelled";
  const level = resting ? 0 : ageLevel(seconds, thresholds);
  node.classList.toggle("age-1", level === 1);
  node.classList.toggle("age-2", level === 2);
  node.classList.toggle("is-ready", order.status === "ready");
}

/** The moves that make sense for an item. */
export function moves(item) {
  return {
    queued: ["start", "bump", "hold", "void"], held: ["fire", "void"], started: ["bump", "void"],
    ready: ["recall"], voided: item.acknowledged ? [] : ["bump"], served: [],
  }[item.status] ?? [];
}

/** The dialog with every move of an item; `move` is called with the name of the one tapped. */
export function itemMenu(item, words, move) {
  const dialog = byId("item-dialog");
  const tapped = (name) => ({ target }) => {
    if (name === "void" && !target.dataset.sure) { // taking something off asks twice
      target.dataset.sure = "yes";
      target.textContent = "Tap again to void";
      return;
    }
    dialog.close();
    move(name);
  };
  const possible = moves(item);
  byId("item-title").textContent = `${item.quantity} × ${item.name}`;
  byId("item-about").textContent = [...words, item.note].filter(Boolean).join(", ");
  byId("item-moves").replaceChildren(...possible.map((name) => el("button", {
    type: "button", class: name === "void" ? "big danger" : "big", text: item.status === "voided" ? "Seen" : MOVE_NAMES[name], on: { click: tapped(name) },
  })), possible.length ? "" : el("p", { class: "quiet", text: "Nothing left to do with this one." }));
  dialog.showModal();
}
