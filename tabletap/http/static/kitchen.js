// The kitchen display: live tickets per station, and whole orders for the expo.
import { ApiError, api, byId, el, inStep, plural, slugFrom, store, tell } from "./common.js";
import { describe, indexMenu } from "./basket.js";
import { allDay, LIVE, tickets } from "./orders.js";
import { Gate, showLink } from "./gate.js";
import { Known } from "./known.js";
import { itemMenu, signature, tick, ticket } from "./ticket.js";

const slug = slugFrom(location.pathname);
const base = `/api/${encodeURIComponent(slug)}`;
const session = store("session");
const KEY = `tabletap:${slug}:kitchen`;

let known = null; // the orders, while somebody is signed in
let index = null;
let stations = [];
let ageing = { online: [300, 600], table: [300, 600], counter: [240, 480] };
let station = session.get(`${KEY}:station`, "all");
let done = false;
const dismissed = new Set();
const busy = new Set(); // "order" or "order/line" with a move under way
const drawn = new Map(); // order id -> {node, signature}

const gate = new Gate(KEY, open, () => known?.close());

async function open(token) {
  const [cafe, settings] = await Promise.all([api(`${base}/menu`), api(`${base}/settings`, { token })]);
  index = indexMenu(cafe.menu);
  stations = cafe.menu.stations;
  ageing = settings.ageing;
  byId("cafe-name").textContent = cafe.name;
  document.title = `${cafe.name} · Kitchen`;
  if (station !== "all" && !stations.includes(station)) station = "all";
  drawStations();
  known = new Known({
    cafe: slug, door: "kitchen", token, draw, onState: showLink, onDenied: (why) => gate.ask(why),
    list: () => api(`${base}/orders?status=active`, { token }),
    keeps: (order, there) => LIVE.has(order.status) || (order.status === "cancelled" && there && !order.mergedInto && !dismissed.has(order.id)),
  });
  await known.open();
}

// ---- moves

async function move(id, name, line = null) {
  const key = line === null ? id : `${id}/${line}`;
  if (busy.has(key)) return;
  busy.add(key);
  draw();
  const at = known.heardAt.get(id);
  try {
    const path = line === null ? `/api/orders/${id}/${name}` : `/api/orders/${id}/items/${line}/${name}`;
    const order = await api(path, { method: "POST", token: gate.token, body: {} });
    if (known.heardAt.get(id) === at) known.put(order); // else the events tell it better
    tell(byId("error"), null);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return gate.ask(error);
    tell(byId("error"), error);
    known.fetchOne(id);
  } finally {
    busy.delete(key);
    draw();
  }
}

async function bumpAll(id) {
  const order = known.orders.get(id);
  const mine = (order?.items ?? []).filter((item) => (station === "all" || item.station === station) && !(item.status === "voided" && item.acknowledged));
  const open = mine.filter(({ status }) => ["queued", "started", "voided"].includes(status));
  for (const { line } of open) await move(id, "bump", line);
}

async function dismiss(id) {
  dismissed.add(id);
  const voided = known.orders.get(id).items.filter((item) => item.status === "voided" && !item.acknowledged);
  known.orders.delete(id);
  draw();
  for (const { line } of voided) { // the server keeps the acknowledgement; a refusal changes nothing here
    await api(`/api/orders/${id}/items/${line}/bump`, { method: "POST", token: gate.token, body: {} }).catch(() => {});
  }
}

function act(event) {
  const button = event.target.closest("button");
  const id = button?.closest("[data-order]")?.dataset.order;
  if (!id || !known.orders.has(id)) return;
  const { move: name, line, item } = button.dataset;
  if (item !== undefined) {
    const chosen = known.orders.get(id).items.find((each) => String(each.line) === item);
    itemMenu(chosen, words(chosen), (what) => move(id, what, chosen.line));
  }
  if (name === "bump-all") bumpAll(id);
  else if (name === "dismiss") dismiss(id);
  else if (name) move(id, name, line ?? null);
}

// ---- drawing

const stationName = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("-", " ");
const words = (item) => describe(index, item.sku, item.modifiers);

function drawStations() {
  byId("stations").replaceChildren(...["all", ...stations].map((name) => el("button", {
    type: "button", "aria-pressed": String(name === station), data: { station: name },
  }, el("span", { text: name === "all" ? "All" : stationName(name) }), el("span", { class: "badge" }))));
}

function draw() {
  if (!known) return;
  const shown = tickets(known.orders.values(), station, done);
  const board = byId("tickets");
  inStep(board, shown, drawn, (order) => signature(order, station, busy), (order) => ticket(order, station, { busy, describe: words, stationName }));
  board.classList.toggle("empty", !shown.length);
  board.dataset.empty = station === "all" ? "No open orders" : `Nothing to make at ${stationName(station)}`;
  const open = tickets(known.orders.values(), "all").filter(({ status }) => status !== "cancelled").length;
  byId("order-count").textContent = plural(open, "order");
  for (const tab of byId("stations").children) {
    tab.setAttribute("aria-pressed", String(tab.dataset.station === station));
    const waiting = tickets(known.orders.values(), tab.dataset.station).length;
    tab.querySelector(".badge").textContent = waiting || "";
  }
  const counts = allDay(known.orders.values(), station);
  byId("counts").replaceChildren(...(counts.length ? counts.map(({ name, count }) => el("li", {}, el("strong", { text: String(count) }), el("span", { text: name })))
    : [el("li", { class: "quiet", text: "Nothing to make" })]));
  clocks();
}

function clocks() {
  const now = Date.now();
  for (const [id, { node }] of drawn) {
    const order = known.orders.get(id);
    if (order) tick(node, order, station, ageing[order.channel] ?? ageing.table, now);
  }
  byId("now").textContent = new Date(now).toLocaleTimeString("en-AU", { hour: "numeric", minute: "2-digit" });
}

// ---- wiring

byId("tickets").addEventListener("click", act);
byId("stations").addEventListener("click", (event) => {
  const name = event.target.closest("[data-station]")?.dataset.station;
  if (!name) return;
  station = name;
  session.set(`${KEY}:station`, name);
  scrollTo({ top: 0, behavior: "instant" });
  draw();
});
byId("show-done").addEventListener("click", ({ currentTarget }) => {
  done = !done;
  currentTarget.setAttribute("aria-pressed", String(done));
  draw();
});
byId("show-all-day").addEventListener("click", ({ currentTarget }) => {
  const shown = byId("all-day").hidden;
  byId("all-day").hidden = !shown;
  currentTarget.setAttribute("aria-pressed", String(shown));
});
byId("item-close").addEventListener("click", () => byId("item-dialog").close());
byId("item-dialog").addEventListener("click", ({ target }) => { if (target === byId("item-dialog")) target.close(); });
// a kitchen tablet should not fall asleep; the browser may say no
const awake = () => { if (document.visibilityState === "visible") navigator.wakeLock?.request("screen").catch(() => {}); };
document.addEventListener("visibilitychange", awake);
awake();
setInterval(clocks, 1000);
gate.begin();
