// The counter's screen: today's orders with what is paid of them, and the bill of the one that is chosen. It says what
// the server says; who may do what, and what an amount comes to, is the server's to know.
import { ApiError, api, byId, el, inStep, money, plural, slugFrom, tell } from "./common.js";
import { ask } from "./asked.js";
import { describe, indexMenu } from "./basket.js";
import { bill, METHOD, orderRow, payable } from "./bill.js";
import { askOfDrawer, drawerPanel } from "./drawers.js";
import { Gate, showLink } from "./gate.js";
import { Known } from "./known.js";
import { LIVE, owed } from "./orders.js";
import { question } from "./question.js";

const slug = slugFrom(location.pathname);
const base = `/api/${encodeURIComponent(slug)}`;
const LISTED = 300;
const SURE_MS = 4_000;
const PARTS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12];
const NOTES = [500, 1000, 2000, 5000, 10000]; // in cents
const FILTERS = {
  open: (order) => LIVE.has(order.status) || owed(order) > 0,
  owing: (order) => owed(order) > 0,
  all: () => true,
};

let known = null; // the orders, while somebody is signed in
let index = null;
let drawers = []; // that are open
let filter = "open";
let chosen = null; // {id, payments: null until they are known}
let atDrawers = false; // they stand where the bill would
let busy = false;
let sure = null;
let billed = ""; // what the bill on the page was drawn from
const drawn = new Map();

const gate = new Gate(`tabletap:${slug}:counter`, open, () => known?.close());

async function open(token) {
  const [cafe] = await Promise.all([api(`${base}/menu`), lookForDrawers(token)]);
  index = indexMenu(cafe.menu);
  byId("cafe-name").textContent = cafe.name;
  document.title = `${cafe.name} · Counter`;
  known = new Known({
    cafe: slug, door: "counter", token, draw, onState: showLink, onDenied: (why) => gate.ask(why),
    list: () => listed(token), keeps: () => true, sums: true,
    heard: ({ data = {} }) => {
      if (chosen && data.orderId === chosen.id) look();
      if (atDrawers && data.paymentId) lookAgainForDrawers();
    },
  });
  await known.open();
  if (chosen) look();
}

async function lookForDrawers(token) {
  drawers = (await api(`${base}/drawers`, { token })).drawers;
}

/** Those we know may do; the server says if not. */
const lookAgainForDrawers = () => lookForDrawers(gate.token).then(draw, () => {});

/** Which drawer cash goes into, or comes out of: asked where there is a choice. */
const drawerField = () => ({ name: "drawerId", label: "Drawer", kind: "choice", options: drawers.map(({ drawerId, name }) => [drawerId, name]) });

/** What is open, however old, and the newest orders; both are at least as new as the offset of the first. */
async function listed(token) {
  const active = await api(`${base}/orders?status=active`, { token });
  const newest = await api(`${base}/orders?limit=${LISTED}`, { token });
  const orders = new Map([...active.orders, ...newest.orders].map((order) => [order.id, order]));
  return { orders: [...orders.values()], offset: active.offset };
}

// ---- the payments of the chosen order

let looking = null;
let again = false;

/** Asks for them, and once more when something has happened meanwhile. */
async function look() {
  if (looking) { again = true; return; }
  if (!chosen) return;
  const asked = chosen;
  looking = api(`/api/orders/${asked.id}/payments`, { token: gate.token });
  try {
    asked.payments = (await looking).payments;
  } catch (error) {
    if (!refused(error)) tell(byId("error"), error);
  } finally {
    looking = null;
  }
  draw();
  if ((again || chosen !== asked) && chosen) { again = false; look(); }
}

/** The bill of an order, the drawers, or neither. */
function choose(id, drawersInstead = false) {
  chosen = id && { id, payments: null };
  atDrawers = drawersInstead;
  sure = null;
  document.body.classList.toggle("has-chosen", Boolean(chosen) || atDrawers);
  if (chosen) look();
  if (chosen || atDrawers) lookAgainForDrawers();
  draw();
}

// ---- what can be done

/** A token that is no good (any more) shuts the gate. */
function refused(error) {
  if (!(error instanceof ApiError && error.status === 401)) return false;
  gate.ask(error);
  return true;
}

/** Carries out what was tapped; a refusal is shown, and what stands is asked for again. */
async function attempt(work) {
  if (busy) return;
  busy = true;
  tell(byId("error"), null);
  draw();
  try {
    await work();
  } catch (error) {
    if (refused(error)) return;
    tell(byId("error"), error);
    if (chosen) known.fetchOne(chosen.id);
  } finally {
    busy = false;
    if (chosen) look();
    draw();
  }
}

function say(text) {
  byId("told").textContent = text;
  byId("told").hidden = !text;
}

const paymentsPath = (id, verb) => `/api/payments/${id}/${verb}`;

const ACTS = {
  close: () => choose(null),
  cash: (order) => attempt(async () => {
    tender(order, await ask("/api/payments/initiate", { orderId: order.id, paymentMethod: "cash" }, gate.token));
  }),
  cancel: (order) => {
    if (sure !== "cancel") {
      sure = "cancel";
      setTimeout(() => { sure = null; draw(); }, SURE_MS);
      return draw();
    }
    sure = null;
    return attempt(async () => { await api(`/api/orders/${order.id}/cancel`, { method: "POST", token: gate.token, body: {} }); });
  },
  tender,
  "split-items": (order) => question({
    title: "Pay for some items", about: "Each line can be paid for once.", verb: "Take cash for them",
    fields: [{ name: "lines", label: "Items", kind: "many", options: payable(order).map((item) => [item.line, `${item.quantity}× ${item.name}, ${money(item.total + item.serviceCharge, order.currency)}`]) }],
    act: ({ lines }) => payPart(order, { split: { by: "item", lines: lines.map(Number) } }),
  }),
  "split-share": (order) => question({
    title: "Split evenly", about: "The whole bill; the last part is what is left then.", verb: "Take cash for the next part",
    fields: [{ name: "of", label: "Into how many parts", kind: "choice", options: PARTS.map((of) => [of, of]) }],
    act: ({ of }) => payPart(order, { split: { by: "share", of: Number(of) } }),
  }),
  "split-amount": (order) => question({
    title: "Pay some of it", about: `${money(owed(order), order.currency)} is to pay.`, verb: "Take cash for it",
    fields: [{ name: "amount", label: "Amount", kind: "money", value: owed(order), quick: halves(owed(order)) }],
    act: ({ amount }) => payPart(order, { amount }),
  }),
  arrived: (order, payment) => question({
    title: "Money has arrived", about: `Reference ${payment.reference}, as your bank shows it.`, verb: "It is here",
    fields: [{ name: "received", label: "Received", kind: "money", value: payment.totalAmount }],
    act: ({ received }) => settle(paymentsPath(payment.paymentId, "verify"), { received }),
  }),
  look: (order, payment) => attempt(() => ask(paymentsPath(payment.paymentId, "verify"), {}, gate.token)),
  "give-up": (order, payment) => attempt(() => api(paymentsPath(payment.paymentId, "cancel"), { method: "POST", token: gate.token, body: {} })),
  refund: (order, payment) => question({
    title: "Refund", about: `${money(payment.refundable, payment.currency)} of this payment can be given back.`, verb: "Give back",
    fields: [
      { name: "amount", label: "Amount", kind: "money", value: payment.refundable, quick: halves(payment.refundable) },
      { name: "to", label: "To", kind: "choice", options: [["original", `The way it came: ${METHOD[payment.paymentMethod] ?? payment.paymentMethod}`], ["credit", "The customer's credit"]] },
      ...(drawers.length && payment.paymentMethod === "cash" ? [drawerField()] : []),
      { name: "reason", label: "Reason (optional)", kind: "text" },
    ],
    act: ({ reason, ...wanted }) => settle(paymentsPath(payment.paymentId, "refund"), { ...wanted, ...(reason && { reason }) }),
  }),
};

/** Begins a payment of a part of the bill, and asks for the cash. */
async function payPart(order, part) {
  tender(order, await settle("/api/payments/initiate", { orderId: order.id, paymentMethod: "cash", ...part }));
}

const halves = (amount) => (amount > 1 ? [amount, Math.floor(amount / 2)] : []);

function tender(order, payment) {
  const due = payment.totalAmount;
  question({
    title: `${money(due, payment.currency)} in cash`, about: `Order ${order.number}`, verb: "Cash received",
    fields: [
      { name: "tendered", label: "Tendered", kind: "money", value: due, quick: [due, ...NOTES.filter((note) => note > due)] },
      ...(drawers.length ? [drawerField()] : []),
    ],
    act: async (wanted) => {
      const paid = await settle(paymentsPath(payment.paymentId, "verify"), wanted);
      say(`Change: ${money(paid.change ?? 0, paid.currency)}`);
    },
  });
}

/** Asks for it; what stands now is looked up, however it ended. */
async function settle(path, body) {
  try {
    return await ask(path, body, gate.token);
  } catch (error) {
    if (refused(error)) byId("ask").close();
    throw error;
  } finally {
    if (chosen && gate.token) look();
    if (atDrawers && gate.token) lookAgainForDrawers();
  }
}

// ---- drawing

function draw() {
  if (!known) return;
  const all = [...known.orders.values()].filter(({ mergedInto }) => !mergedInto);
  const today = all.reduce((day, { businessDay }) => (businessDay > day ? businessDay : day), "");
  const shown = all
    .filter((order) => (order.businessDay === today || LIVE.has(order.status)) && FILTERS[filter](order))
    .sort((a, b) => Date.parse(b.placedAt) - Date.parse(a.placedAt) || b.number - a.number);
  const list = byId("orders");
  inStep(list, shown, drawn, (order) => JSON.stringify([order, order.id === chosen?.id]), (order) => orderRow(order, order.id === chosen?.id));
  list.classList.toggle("empty", !shown.length);
  list.dataset.empty = { open: "No open orders", owing: "Nothing is owed", all: "No orders today" }[filter];
  byId("order-count").textContent = plural(shown.length, "order");
  for (const tab of byId("filters").children) tab.setAttribute("aria-pressed", String(tab.dataset.filter === filter));
  drawBill();
}

function drawBill() {
  const order = chosen && known.orders.get(chosen.id);
  const now = JSON.stringify([order, chosen?.payments, busy, sure, atDrawers && drawers]);
  if (now === billed) return;
  billed = now;
  const box = byId("bill");
  const focus = document.activeElement?.dataset?.key;
  const words = (item) => describe(index, item.sku, item.modifiers);
  box.replaceChildren(...(order ? bill(order, chosen.payments, { busy, sure, describe: words })
    : atDrawers ? drawerPanel(drawers, busy) : [el("p", { class: "quiet hint", text: "Choose an order to see its bill." })]));
  if (focus) box.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
}

// ---- wiring

byId("orders").addEventListener("click", (event) => {
  const id = event.target.closest("[data-order]")?.dataset.order;
  if (!id) return;
  say("");
  choose(id);
});
byId("bill").addEventListener("click", (event) => {
  const { act, payment, drawer } = event.target.closest("button")?.dataset ?? {};
  const order = known.orders.get(chosen?.id);
  if (!act || !(order || atDrawers)) return;
  say("");
  if (atDrawers && act !== "close") {
    askOfDrawer(act, drawers.find(({ drawerId }) => drawerId === drawer), { path: `${base}/drawers`, send: settle, say });
    return;
  }
  ACTS[act](order, chosen.payments?.find(({ paymentId }) => paymentId === payment));
});
byId("open-drawers").addEventListener("click", () => {
  say("");
  choose(null, true);
});
byId("filters").addEventListener("click", (event) => {
  const name = event.target.closest("[data-filter]")?.dataset.filter;
  if (!name) return;
  filter = name;
  draw();
});
gate.begin();
