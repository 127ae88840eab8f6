// The kitchen display: live tickets per station, and whole orders for the expo.
import { ApiError, api, byId, el, plural, slugFrom, store, tell } from "./common.js";
import { describe, indexMenu } from "./basket.js";
import { allDay, applyEvent, LIVE, tickets } from "./orders.js";
import { Live } from "./live.js";
import { itemMenu, signature, tick, ticket } from "./ticket.js";

const slug = slugFrom(location.pathname);
const base = `/api/${encodeURIComponent(slug)}`;
const session = store("session");
const KEY = `tabletap:${slug}:kitchen`;
const LINK = { connecting: "Connecting…", live: "Live", waiting: "Offline, retrying…", stopped: "Stopped" };

let token = null;
let live = null;
let index = null;
let stations = [];
let ageing = { online: [300, 600], table: [300, 600], counter: [240, 480] };
let station = session.get(`${KEY}:station`, "all");
let done = false;
const orders = new Map();
const heard = new Map(); // order id -> offset of the last event about it
const fetching = new Set();
const dismissed = new Set();
const busy = new Set(); // "order" or "order/line" with a move under way
const drawn = new Map(); // order id -> {node, signature}

// ---- signing in

function begin() {
  const handed = new URLSearchParams(location.hash.slice(1)).get("token");
  if (handed) {
    session.set(KEY, handed);
    history.replaceState(null, "", location.pathname + location.search);
  }
  token = session.get(KEY);
  if (token) open();
  else ask();
}

function ask(error = null) {
  live?.stop();
  live = null;
  session.set(KEY, null);
  document.body.classList.add("locked");
  byId("gate").hidden = false;
  tell(byId("gate-error"), error);
  byId("token").value = "";
  byId("token").focus();
}

async function open() {
  byId("gate").hidden = true;
  document.body.classList.remove("locked");
  try {
    const [cafe, settings] = await Promise.all([api(`${base}/menu`), api(`${base}/settings`, { token })]);
    index = indexMenu(cafe.menu);
    stations = cafe.menu.stations;
    ageing = settings.ageing;
    byId("cafe-name").textContent = cafe.name;
    document.title = `${cafe.name} · Kitchen`;
    if (station !== "all" && !stations.includes(station)) station = "all";
    drawStations();
    const offset = await load();
    live = new Live({
      door: "kitchen", cafe: slug, token, after: offset ?? null,
      onState: showLink,
      onEvent: hear,
      onReload: reload,
      onDenied: (code) => ask([code === 4001 ? "Your session has ended. Please sign in again." : "This token may not open the kitchen."]),
      onUnopened: reload, // tells a refused token from a lost network
    });
    live.start();
    tell(byId("error"), null);
  } catch (error) {
    if (error instanceof ApiError && error.denied) return ask(error);
    tell(byId("error"), error);
    showLink("waiting");
    setTimeout(() => { if (!live && token) open(); }, 5000);
  }
}

// ---- what we know

let loading = null;
function reload() {
  loading ??= load().catch((error) => {
    if (error instanceof ApiError && error.denied) ask(error);
  }).finally(() => { loading = null; });
}

/** All active orders, with the offset they stand for: events up to it say nothing new. */
async function load() {
  const answer = await api(`${base}/orders?status=active`, { token });
  const older = (id) => answer.offset === undefined || !(heard.get(id) > answer.offset);
  const listed = new Set();
  for (const order of answer.orders) {
    listed.add(order.id);
    if (older(order.id)) orders.set(order.id, order);
  }
  for (const [id, order] of orders) {
    if (!listed.has(id) && older(id) && order.status !== "cancelled") orders.delete(id);
  }
  live?.reached(answer.offset);
  draw();
  return answer.offset;
}

function hear({ type, offset, data = {} }) {
  for (const change of data.places ?? [data]) {
    const id = change.orderId ?? change.order?.id;
    if (!id) continue;
    heard.set(id, offset);
    const next = applyEvent(orders.get(id), type, change);
    if (next) put(next);
    else fetchOne(id);
  }
  draw();
}

function put(order) {
  const before = orders.get(order.id);
  const shown = LIVE.has(order.status) || (order.status === "cancelled" && before && !order.mergedInto && !dismissed.has(order.id));
  if (shown) orders.set(order.id, order);
  else orders.delete(order.id);
}

/** Asks for an order until no event came in between: an answer older than an event must not win. */
async function fetchOne(id) {
  if (fetching.has(id)) return;
  fetching.add(id);
  try {
    let at, order;
    do {
      at = heard.get(id);
      order = await api(`/api/orders/${id}`, { token });
    } while (heard.get(id) !== at);
    put(order);
  } catch (error) {
    if (error.status === 404) orders.delete(id);
    else if (!error.denied) setTimeout(reload, 3000);
  } finally {
    fetching.delete(id);
    draw();
  }
}

// ---- moves

async function move(id, name, line = null) {
  const key = line === null ? id : `${id}/${line}`;
  if (busy.has(key)) return;
  busy.add(key);
  draw();
  const at = heard.get(id);
  try {
    const path = line === null ? `/api/orders/${id}/${name}` : `/api/orders/${id}/items/${line}/${name}`;
    const order = await api(path, { method: "POST", token, body: {} });
    if (heard.get(id) === at) put(order); // else the events tell it better
    tell(byId("error"), null);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return ask(error);
    tell(byId("error"), error);
    fetchOne(id);
  } finally {
    busy.delete(key);
    draw();
  }
}

async function bumpAll(id) {
  const order = orders.get(id);
  const mine = (order?.items ?? []).filter((item) => (station === "all" || item.station === station) && !(item.status === "voided" && item.acknowledged));
  const open = mine.filter(({ status }) => ["queued", "started", "voided"].includes(status));
  for (const { line } of open) await move(id, "bump", line);
}

async function dismiss(id) {
  dismissed.add(id);
  const voided = orders.get(id).items.filter((item) => item.status === "voided" && !item.acknowledged);
  orders.delete(id);
  draw();
  for (const { line } of voided) { // the server keeps the acknowledgement; a refusal changes nothing here
    await api(`/api/orders/${id}/items/${line}/bump`, { method: "POST", token, body: {} }).catch(() => {});
  }
}

function act(event) {
  const button = event.target.closest("button");
  const id = button?.closest("[data-order]")?.dataset.order;
  if (!id || !orders.has(id)) return;
  const { move: name, line, item } = button.dataset;
  if (item !== undefined) {
    const chosen = orders.get(id).items.find((each) => String(each.line) === item);
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
  if (!index) return;
  const shown = tickets(orders.values(), station, done);
  const focus = document.activeElement?.dataset?.key;
  const board = byId("tickets");
  const keep = new Set(shown.map(({ id }) => id));
  for (const [id, { node }] of drawn) if (!keep.has(id)) { node.remove(); drawn.delete(id); }
  shown.forEach((order, at) => {
    const now = signature(order, station, busy);
    const old = drawn.get(order.id);
    let node = old?.node;
    if (old?.signature !== now) {
      node = ticket(order, station, { busy, describe: words, stationName });
      old?.node.replaceWith(node);
      drawn.set(order.id, { node, signature: now });
    }
    if (board.children[at] !== node) board.insertBefore(node, board.children[at] ?? null);
  });
  board.classList.toggle("empty", !shown.length);
  board.dataset.empty = station === "all" ? "No open orders" : `Nothing to make at ${stationName(station)}`;
  if (focus && document.activeElement?.dataset?.key !== focus) board.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  const open = tickets(orders.values(), "all").filter(({ status }) => status !== "cancelled").length;
  byId("order-count").textContent = plural(open, "order");
  for (const tab of byId("stations").children) {
    tab.setAttribute("aria-pressed", String(tab.dataset.station === station));
    const waiting = tickets(orders.values(), tab.dataset.station).length;
    tab.querySelector(".badge").textContent = waiting || "";
  }
  const counts = allDay(orders.values(), station);
  byId("counts").replaceChildren(...(counts.length ? counts.map(({ name, count }) => el("li", {}, el("strong", { text: String(count) }), el("span", { text: name })))
    : [el("li", { class: "quiet", text: "Nothing to make" })]));
  clocks();
}

function clocks() {
  const now = Date.now();
  for (const [id, { node }] of drawn) {
    const order = orders.get(id);
    if (order) tick(node, order, station, ageing[order.channel] ?? ageing.table, now);
  }
  byId("now").textContent = new Date(now).toLocaleTimeString("en-AU", { hour: "numeric", minute: "2-digit" });
}

function showLink(name) {
  byId("link").className = `link ${name}`;
  byId("link").textContent = LINK[name];
  document.body.classList.toggle("offline", name === "waiting" || name === "stopped");
}

// ---- wiring

byId("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim().replace(/^Bearer\s+/i, "");
  session.set(KEY, token);
  open();
});
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
addEventListener("hashchange", begin);
// a kitchen tablet should not fall asleep; the browser may say no
const awake = () => { if (document.visibilityState === "visible") navigator.wakeLock?.request("screen").catch(() => {}); };
document.addEventListener("visibilitychange", awake);
awake();
setInterval(clocks, 1000);
begin();
