// Orders already placed: kept over reloads, followed live, paid for.
import { ApiError, api, button, clock, duration, el, kindly, money, plural, store, tell } from "./common.js";
import { ask } from "./asked.js";
import { applyEvent, changesSums, LIVE, owed, steps } from "./orders.js";
import { Live } from "./live.js";
import { chooser, OUTCOME, secondsLeft, transfer, TRANSFER, underWay } from "./pay.js";

const KEEP_MS = 12 * 3600_000;
const SAYS = {
  pending: "We have your order.", payment_pending: "The kitchen starts as soon as it is paid.", paid: "Paid, thank you. You are in the queue.",
  preparing: "We are making it now.", ready: "It's ready!", completed: "Enjoy!", cancelled: "This order was cancelled.",
};
const ITEM = { queued: "In the queue", held: "A little later", started: "Being made", ready: "Ready", served: "Served", voided: "Taken off" };

/** Where the kitchen does not wait for the money, an order that is about to be paid is like any other. */
const says = (order) => SAYS[order.status === "payment_pending" && order.inKitchen ? "pending" : order.status] ?? order.status;

/** All orders of this browser at this cafe. */
export class Followed {
  constructor(page) {
    this.page = page; // {slug, panel, say, describe, account: () => token, ways, tips: () => basis points, credit: () => cents, moneyMoved}
    this.local = store("local");
    this.key = `tabletap:${page.slug}:orders`;
    this.orders = new Map();
  }

  show(currency) {
    this.page.currency = currency;
    for (const kept of this.#kept()) if (!this.orders.has(kept.id)) this.#follow(kept);
    for (const order of this.orders.values()) order.draw();
  }

  add(order) {
    this.#save([{ id: order.id, token: order.trackingToken, at: Date.now() }, ...this.#kept()].slice(0, 6));
    this.#follow(this.#kept()[0], order);
  }

  /** `changes` null forgets the order. */
  update(id, changes) {
    this.#save(this.#kept().flatMap((kept) => (kept.id !== id ? [kept] : changes ? [{ ...kept, ...changes }] : [])));
    if (changes) return;
    this.orders.get(id)?.close();
    this.orders.delete(id);
    this.page.panel.hidden = !this.orders.size;
  }

  #kept() { return this.local.get(this.key, []).filter(({ id, token, at }) => id && token && Date.now() - at < KEEP_MS); }

  #save(kept) { this.local.set(this.key, kept); }

  #follow(kept, order = null) {
    const follow = new Follow(this, kept, order);
    this.orders.set(kept.id, follow);
    this.page.panel[order ? "prepend" : "append"](follow.box);
    this.page.panel.hidden = false;
    follow.open();
  }
}

class Follow {
  constructor(all, { id, token, payment = null }, order) {
    Object.assign(this, { all, id, token, payment, order });
    this.page = all.page;
    this.error = el("div", { class: "error", role: "alert", hidden: true });
    this.body = el("div");
    this.box = el("article", { class: "order", "aria-label": "Order" }, this.body, this.error);
    this.link = "connecting";
    this.fetching = null;
    this.busy = false;
    this.confirming = false;
    this.tip = 0; // in basis points
    this.leaving = false; // to the provider's page, as soon as we know where it is
  }

  open() {
    this.live = new Live({
      door: "customers", cafe: this.page.slug, token: this.token,
      onState: (name) => { this.link = name; this.draw(); },
      onWelcome: () => this.refresh(),
      onReload: () => this.refresh(),
      onEvent: (event) => this.#hear(event),
      onDenied: () => this.refresh(),
      onUnopened: () => this.refresh(),
    });
    this.ticker = setInterval(() => this.#tick(), 1000);
    this.draw();
    this.live.start();
    if (!this.order) this.refresh();
    if (this.payment) this.#askPayment();
  }

  close() {
    this.live.stop();
    clearInterval(this.ticker);
    this.box.remove();
  }

  #hear({ type, data = {} }) {
    if ((data.orderId ?? data.order?.id) !== this.id) return;
    if (this.fetching) this.again = true; // the answer under way may be older than this event
    if (data.paymentId) this.page.moneyMoved();
    if (data.paymentId && data.paymentId === this.payment?.paymentId) this.#askPayment();
    const next = applyEvent(this.order, type, data);
    if (next) this.#set(next);
    if (!next || changesSums(data)) this.refresh();
  }

  async refresh() {
    if (this.fetching) { this.again = true; return; }
    this.fetching = api(`/api/orders/${this.id}`, { token: this.token });
    try {
      const order = await this.fetching;
      if (!this.again) this.#set(order);
    } catch (error) {
      if (error instanceof ApiError && (error.denied || error.status === 404)) return this.all.update(this.id, null);
    } finally {
      this.fetching = null;
    }
    if (this.again) { this.again = false; this.refresh(); }
  }

  #set(order) {
    const before = this.order;
    this.order = order;
    if (before && before.status !== order.status) this.page.say(`Order ${order.number}: ${says(order)}`);
    if (owed(order) === 0) tell(this.error, null);
    if (this.payment && owed(order) === 0) this.#keepPayment(null);
    if (order.status === "cancelled" ? !order.paid : order.status === "completed" && owed(order) === 0) this.live.stop();
    this.draw();
  }

  draw() {
    const order = this.order;
    if (!order || !this.page.currency) {
      this.body.replaceChildren(el("p", { class: "quiet", text: "Looking up your order…" }));
      return;
    }
    const over = !LIVE.has(order.status);
    const cents = (amount) => money(amount, order.currency ?? this.page.currency);
    const focus = document.activeElement?.closest?.("[data-key]")?.dataset.key;
    this.box.className = `order is-${order.status}`;
    this.body.replaceChildren(
      el("header", { class: "order-head" },
        el("div", {}, el("h2", { text: `Order ${order.number}` }), el("p", { class: "quiet", text: [order.table ? `Table ${order.table}` : "Pick up", `placed ${clock(order.placedAt)}`].join(" · ") })),
        over ? button("Hide", "hide", () => this.all.update(this.id, null), "ghost")
          : el("span", { class: `link ${this.link}`, text: this.link === "live" ? "Live" : "Reconnecting…" })),
      order.status === "cancelled" ? "" : el("ol", { class: "steps" }, steps(order).map(({ name, state }) =>
        el("li", { class: state, text: name, ...(state === "now" && { "aria-current": "step" }) }))),
      el("p", { class: "says" }, el("strong", { text: says(order) }), " ", el("span", { text: this.#waiting(order) })),
      el("ul", { class: "lines" }, order.items.map((item) => el("li", { class: `item is-${item.status}` },
        el("span", { class: "times", text: `${item.quantity}×` }),
        el("div", { class: "line-main" }, el("span", { text: item.name }), el("small", { class: "quiet", text: this.page.describe(item).join(" · ") }),
          order.status === "cancelled" ? "" : el("span", { class: "item-state", text: ITEM[item.status] ?? item.status })),
        el("span", { class: "line-price", text: item.status === "voided" ? "" : cents(item.total) })))),
      order.serviceCharge > 0 ? el("p", { class: "extra" }, el("span", { text: "Service charge" }), el("span", { text: cents(order.serviceCharge) })) : "",
      order.discount > 0 ? el("p", { class: "extra" }, el("span", { text: "Points" }), el("span", { text: cents(-order.discount) })) : "",
      el("p", { class: "sum" }, el("span", {}, "Total ", el("small", { text: `incl. ${cents(order.tax ?? 0)} GST` })), el("strong", { text: cents(order.total) })),
      this.#pay(order, cents));
    if (focus) this.body.querySelector(`[data-key="${focus}"]`)?.focus();
  }

  #waiting(order) {
    if (!order.inKitchen || order.status === "ready") return "";
    const place = order.queuePosition > 0 && order.status !== "preparing" ? [order.queuePosition === 1 ? "You are next." : `${plural(order.queuePosition - 1, "order")} before yours.`] : [];
    const minutes = order.estimatedReadyAt ? Math.ceil((Date.parse(order.estimatedReadyAt) - Date.now()) / 60_000) : null;
    const when = minutes === null ? [] : [minutes > 1 ? `Ready about ${clock(order.estimatedReadyAt)}, in ${minutes} minutes.` : "Ready any minute."];
    return [...place, ...when].join(" ");
  }

  #pay(order, cents) {
    const rest = owed(order);
    if (order.status === "cancelled") return "";
    if (rest === 0) return el("p", { class: "paid", text: order.refunded > 0 ? `Paid ✓ · ${cents(order.refunded)} given back` : "Paid ✓" });
    if (this.payment && !this.payment.aside) {
      return this.payment.paymentMethod === TRANSFER ? transfer(this.payment, cents, {
        renew: () => { this.#keepPayment(null); this.#initiate({ paymentMethod: TRANSFER }); },
        forget: () => this.#keepPayment(null),
        aside: () => this.#keepPayment({ ...this.payment, aside: true }),
        copied: () => this.page.say("Reference copied"),
      }) : underWay(this.payment, cents, this.busy, { giveUp: () => this.#giveUp() });
    }
    const before = ["pending", "payment_pending"].includes(order.status) && !(order.paid > 0);
    return el("div", { class: "pay" },
      el("p", {}, `To pay: `, el("strong", { text: cents(rest) }), order.paid > 0 ? ` (${cents(order.paid)} received)` : ""),
      chooser({ rest, ways: this.page.ways(), credit: this.page.credit(), presets: this.page.tips(), tip: this.tip, busy: this.busy }, cents, {
        setTip: (tip) => { this.tip = tip; this.draw(); },
        choose: (wanted) => this.#initiate(wanted),
      }),
      el("span", { class: "quiet", text: `or at the counter: say order ${order.number}` }),
      before ? button(this.confirming ? "Tap again to cancel the order" : "Cancel order", "cancel", () => this.#cancel(), "ghost", this.busy) : "");
  }

  #tick() {
    if (!this.payment) { if (++this.idle % 30 === 0) this.draw(); return; }
    if (this.payment.paymentMethod !== TRANSFER) { if (++this.idle % 2 === 0) this.#askPayment(); return; }
    const left = secondsLeft(this.payment);
    const shown = this.body.querySelector("[data-left]");
    if (shown && left > 0) shown.textContent = duration(left);
    else if (shown) this.draw();
  }

  idle = 0;

  #keepPayment(payment) {
    this.payment = payment;
    this.all.update(this.id, { payment });
    this.draw();
  }

  /** `wanted`: {paymentMethod, amount, tipAmount}, the last two left out where they are the server's to say. */
  async #initiate(wanted) {
    const kept = this.payment; // a code that was put aside is still good for the same
    if (kept?.paymentMethod === wanted.paymentMethod && kept.tipAmount === (wanted.tipAmount ?? 0) && secondsLeft(kept) > 0) return this.#keepPayment({ ...kept, aside: false });
    const token = (wanted.paymentMethod === "customer_credit" && this.page.account()) || this.token;
    await this.#attempt(async () => {
      const payment = await ask("/api/payments/initiate", { orderId: this.id, ...wanted }, token);
      this.leaving = true;
      this.#keepPayment(payment);
      if (payment.redirectUrl) this.#leave(payment.redirectUrl);
      else if (wanted.paymentMethod !== TRANSFER) this.#askPayment();
    });
  }

  /** To the provider's page, once: who comes back has a link to it. */
  #leave(url) {
    if (!this.leaving || !/^https?:/.test(url)) return;
    this.leaving = false;
    location.assign(url);
  }

  async #giveUp() {
    const { paymentId } = this.payment;
    await this.#attempt(async () => {
      await api(`/api/payments/${paymentId}/cancel`, { method: "POST", token: this.token, body: {} });
      this.#keepPayment(null);
    });
  }

  async #cancel() {
    if (!this.confirming) {
      this.confirming = true;
      setTimeout(() => { this.confirming = false; this.draw(); }, 4000);
      return this.draw();
    }
    this.confirming = false;
    await this.#attempt(async () => this.#set(await api(`/api/orders/${this.id}/cancel`, { method: "POST", token: this.token, body: {} })));
  }

  async #askPayment() {
    const id = this.payment?.paymentId;
    if (!id) return;
    try {
      const { status, redirectUrl, reason } = await api(`/api/payments/${id}/status`, { token: this.token });
      if (this.payment?.paymentId !== id) return;
      if (status in OUTCOME) {
        this.#keepPayment(null);
        tell(this.error, [OUTCOME[status], ...(reason ? [reason] : [])]);
      } else if (status === "completed") {
        this.#keepPayment(null);
        this.refresh();
      } else if (redirectUrl && !this.payment.redirectUrl) {
        this.#keepPayment({ ...this.payment, redirectUrl });
        this.#leave(redirectUrl);
      }
    } catch { /* the order itself tells */ }
  }

  async #attempt(work) {
    this.busy = true;
    tell(this.error, null);
    this.draw();
    try {
      await work();
    } catch (error) {
      tell(this.error, kindly(error));
      this.refresh();
    } finally {
      this.busy = false;
      this.draw();
    }
  }
}
