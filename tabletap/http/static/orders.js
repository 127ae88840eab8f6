// What pages know of orders: pure functions, no document.

export const LIVE = new Set(["pending", "payment_pending", "paid", "preparing", "ready"]);
const STATUSES = new Set([...LIVE, "completed", "cancelled"]);
const ITEM_STATUSES = new Set(["queued", "held", "started", "ready", "served", "voided"]);
// fields an event may carry that mean the same in an order
const PLAIN = ["paymentStatus", "estimatedReadyAt", "paid", "refunded", "owed", "table", "note", "accepted", "inKitchen", "mergedInto"];
// events whose `status` is a payment's, a job's or a flow's, never the order's
const OTHERS = /^(payment|refund|credit|job|flow|step|orchestration|gift_card|loyalty)_/;

/**
 * The order after an event, or null when the event cannot be applied and the order must be fetched.
 * `data.order` replaces it; otherwise what changed is laid over it. The order given is not touched.
 */
export function applyEvent(order, type, data) {
  if (data.order && Array.isArray(data.order.items)) return { ...order, ...data.order };
  if (!order || OTHERS.test(type)) return null;
  const next = { ...order };
  let applied = false;
  for (const field of PLAIN) {
    if (data[field] !== undefined) { next[field] = data[field]; applied = true; }
  }
  if (data.status !== undefined) {
    if (!STATUSES.has(data.status)) return null;
    next.status = data.status;
    if (data.status === "paid") next.paymentStatus = "completed";
    applied = true;
  }
  if (data.position !== undefined) { next.queuePosition = data.position; applied = true; }
  const changes = [...(data.items ?? []), ...(data.added ?? [])];
  if (data.voided !== undefined) changes.push({ line: data.voided, status: "voided" });
  if (data.acknowledged !== undefined) changes.push({ line: data.acknowledged, acknowledged: true });
  for (const change of changes) {
    if (change.status !== undefined && !ITEM_STATUSES.has(change.status)) return null;
    const at = next.items.findIndex((item) => item.line === change.line);
    if (at < 0 && !(change.name && change.station && change.status)) return null;
    next.items = at < 0 ? [...next.items, change] : next.items.map((item, n) => (n === at ? { ...item, ...change } : item));
    applied = true;
  }
  return applied ? next : null;
}

/** Whether an event changes what the order costs: it does not say the new sums. */
export const changesSums = (data) => data.voided !== undefined || data.discount !== undefined || Boolean(data.added?.length);

/** What no payment has paid yet; of a cancelled order nothing is. What was paid and given back is not owed again: the server knows. */
export const owed = (order) => (order.status === "cancelled" ? 0 : order.owed ?? Math.max(0, (order.total ?? 0) - (order.paid ?? 0)));

/** Whether a line still stands on the board: a void stands until it is bumped. */
export const unfinished = (item) =>
  ["queued", "held", "started"].includes(item.status) || (item.status === "voided" && !item.acknowledged);

/** Whether the kitchen has the order, or had it: before it is approved, due, or (where asked for) paid, it has not. */
export const sent = (order) => Boolean(order.inKitchen || order.releasedAt);

export const stationItems = (order, station) =>
  station === "all" ? order.items : order.items.filter((item) => item.station === station);

/** Tickets of a station in order of arrival; `done` shows those the station has finished as well. */
export function tickets(orders, station, done = false) {
  return [...orders]
    .filter((order) => sent(order) && (LIVE.has(order.status) || order.status === "cancelled"))
    .filter((order) => {
      const items = stationItems(order, station);
      if (station === "all") return items.length > 0;
      return items.length > 0 && (done || items.some(unfinished));
    })
    .sort((a, b) => Date.parse(arrival(a)) - Date.parse(arrival(b)) || compareNumbers(a.number, b.number));
}

export const arrival = (order) => order.releasedAt ?? order.placedAt;

const compareNumbers = (a, b) => String(a).localeCompare(String(b), "en", { numeric: true });

/** When the ticket's clock began, or null while all that is still to be made is held. */
export function clockFrom(order, station) {
  const items = stationItems(order, station);
  const open = items.some((item) => ["queued", "started"].includes(item.status));
  return !open && items.some((item) => item.status === "held") ? null : Date.parse(arrival(order));
}

/** 0 fresh, 1 ageing, 2 late. */
export function ageLevel(seconds, thresholds = [300, 600]) {
  return seconds >= thresholds[1] ? 2 : seconds >= thresholds[0] ? 1 : 0;
}

/** The other stations at work on the order: [{station, open}]. */
export function alsoAt(order, station) {
  const others = new Map();
  for (const item of order.items) {
    if (item.station === station || item.status === "voided") continue;
    others.set(item.station, (others.get(item.station) ?? 0) + (unfinished(item) ? 1 : 0));
  }
  return [...others].map(([name, open]) => ({ station: name, open }));
}

/** How many of each dish are still to be made, over all tickets: [{name, count}], most first. */
export function allDay(orders, station) {
  const counts = new Map();
  for (const order of orders) {
    if (!sent(order) || !LIVE.has(order.status)) continue;
    for (const item of stationItems(order, station)) {
      if (!["queued", "started", "held"].includes(item.status)) continue;
      const name = [item.name, sizeOf(item)].filter(Boolean).join(", ");
      counts.set(name, (counts.get(name) ?? 0) + item.quantity);
    }
  }
  return [...counts].map(([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count || a.name.localeCompare(b.name));
}

const sizeOf = (item) => (item.modifiers ?? []).find(({ group }) => group === "size")?.name ?? "";

/** What tapping an item does, by its status. */
export const NEXT = { queued: "start", started: "bump", ready: "recall", held: "fire", voided: "bump", served: null };

/** The customer's steps: [{name, state: "done" | "now" | "next"}]. */
export function steps(order) {
  const last = order.channel === "table" ? "Served" : "Collected";
  const at = { pending: 0, payment_pending: 0, paid: 0, preparing: 1, ready: 2, completed: 4 }[order.status] ?? 0;
  return ["Received", "Preparing", "Ready", last].map((name, n) => ({ name, state: n < at ? "done" : n === at ? "now" : "next" }));
}
