// An order at the counter, as elements: its row in the list, and its bill with every payment and refund. What can be
// done is asked of the page by data attributes: data-act, and data-payment where it is about one payment.
import { clock, el, money } from "./common.js";
import { owed } from "./orders.js";

export const METHOD = {
  payconic_card: "Card", payconic_bank_transfer: "Bank, by Payconic", payconic_digital_wallet: "Wallet", stripe_card: "Card, by Stripe",
  qr_code_bank_transfer: "Bank transfer", customer_credit: "Credit", gift_card: "Gift card", cash: "Cash",
};
const ORDER = {
  pending: "New", payment_pending: "New", paid: "Paid", preparing: "Being made", ready: "Ready", completed: "Done", cancelled: "Cancelled",
};
const PAYMENT = {
  pending: "Waiting", processing: "Under way", completed: "Paid", partially_refunded: "Part given back", refunded: "Given back",
  failed: "Declined", cancelled: "Given up", expired: "Expired",
};
const REFUND = { pending: "asked for", processing: "under way", completed: "done", failed: "refused" };
const OPEN = ["pending", "processing"];
const CLAIM = { processing: "being paid", completed: "paid" };

const where = (order) => [order.table ? `Table ${order.table}` : order.channel === "counter" ? "Counter" : "Pick up", order.customerName].filter(Boolean).join(" · ");

/** What of the order's money somebody at the counter must know, in two words. */
export function paidWords(order, amount) {
  if (order.status === "cancelled") return order.paid > 0 ? `${amount(order.paid)} kept` : order.refunded > 0 ? "Given back" : "Cancelled";
  if (owed(order) > 0) return `To pay ${amount(owed(order))}`;
  return order.refunded > 0 ? `Paid, ${amount(order.refunded)} given back` : "Paid";
}

export function orderRow(order, chosen) {
  const amount = (value) => money(value, order.currency);
  return el("button", {
    type: "button", class: `order-row${owed(order) > 0 ? " owing" : ""}${order.status === "cancelled" ? " gone" : ""}`,
    "aria-current": chosen ? "true" : undefined, data: { order: order.id, key: order.id },
  },
  el("span", { class: "number", text: `#${order.number}` }),
  el("span", { class: "who" }, el("strong", { text: where(order) }), el("small", { text: `${clock(order.placedAt)} · ${ORDER[order.status] ?? order.status}` })),
  el("span", { class: "sums" }, el("strong", { text: amount(order.total) }), el("small", { class: "paid-words", text: paidWords(order, amount) })));
}

/** `payments` null: not known yet. `sure`: what is asked about once more before it is done. */
export function bill(order, payments, { busy, sure, describe }) {
  const amount = (value) => money(value, order.currency);
  const act = (name, text, kind = "", payment = null) => el("button", {
    type: "button", class: kind, text, disabled: busy, data: { act: name, key: `${name}/${payment ?? ""}`, ...(payment && { payment }) },
  });
  const cancelled = order.status === "cancelled";
  return [
    el("header", { class: "bill-head" },
      el("div", {}, el("h2", { text: `Order ${order.number}` }), el("p", { class: "quiet", text: `${where(order)} · placed ${clock(order.placedAt)} · ${ORDER[order.status] ?? order.status}` })),
      act("close", "Close", "ghost")),
    order.note ? el("p", { class: "note", text: order.note }) : "",
    el("ul", { class: "bill-lines" }, order.items.map((item) => el("li", { class: `is-${item.status}` },
      el("span", { text: `${item.quantity}×` }),
      el("span", { class: "what" }, item.name, el("small", { class: "quiet", text: [...describe(item), CLAIM[item.claim]].filter(Boolean).join(", ") })),
      el("span", { text: item.status === "voided" ? "taken off" : amount(item.total) })))),
    sums([
      order.serviceCharge > 0 && ["Service charge", amount(order.serviceCharge)],
      order.discount > 0 && ["Points", amount(-order.discount)],
      [`Total, incl. ${amount(order.tax)} GST`, amount(order.total)],
      order.paid > 0 && ["Paid", amount(order.paid)],
      order.refunded > 0 && ["Given back", amount(order.refunded)],
      order.shares?.length > 0 && ["Split evenly", order.shares.map(({ share, of, status }) => `${share} of ${of} ${CLAIM[status]}`).join(", ")],
      owed(order) > 0 && ["To pay", amount(owed(order)), "due"],
    ]),
    el("div", { class: "row acts" },
      owed(order) > 0 ? act("cash", "Take cash", "primary big") : "",
      cancelled || order.status === "completed" ? "" : act("cancel", sure === "cancel" ? "Tap again to cancel the order" : "Cancel order", "danger")),
    owed(order) > 0 ? el("div", { class: "row acts", role: "group", "aria-label": "Split the bill, in cash" },
      payable(order).length ? act("split-items", "Some items") : "", act("split-share", "Even parts"), act("split-amount", "Some of it")) : "",
    el("h3", { text: "Payments" }),
    payments === null ? el("p", { class: "quiet", text: "Looking…" })
      : payments.length ? el("div", { class: "payments" }, payments.map((payment) => paymentCard(order, payment, amount, act)))
        : el("p", { class: "quiet", text: "None yet." }),
  ];
}

/** The lines nobody is paying for or has paid for, where the bill is split by them. */
export const payable = (order) => order.items.filter((item) => item.status !== "voided" && !item.claim);

function paymentCard(order, payment, amount, act) {
  const { paymentId: id, paymentMethod: method, status } = payment;
  const name = METHOD[method] ?? method;
  const open = OPEN.includes(status);
  return el("article", { class: `payment is-${status}`, "aria-label": `${name}, ${amount(payment.totalAmount)}` },
    el("header", {}, el("h4", { text: name }), el("span", { class: "payment-status", text: PAYMENT[status] ?? status }), el("strong", { text: amount(payment.totalAmount) })),
    sums([
      payment.lines?.length > 0 && ["For", order.items.filter(({ line }) => payment.lines.includes(line)).map(({ name: what }) => what).join(", ")],
      payment.part && ["Part", `${payment.part.share} of ${payment.part.of}`],
      payment.tipAmount > 0 && ["of it tip", amount(payment.tipAmount)],
      payment.rounding && ["of it rounding", amount(payment.rounding)],
      payment.tendered > 0 && ["Tendered", amount(payment.tendered)],
      payment.change !== undefined && ["Change", amount(payment.change)],
      payment.received > 0 && payment.received !== payment.totalAmount && ["Received", amount(payment.received)],
      payment.surplus > 0 && ["Too much", amount(payment.surplus)],
      payment.disputed > 0 && ["Disputed", amount(payment.disputed)],
      payment.refundedAmount > 0 && ["Given back", amount(payment.refundedAmount)],
      method === "qr_code_bank_transfer" && ["Reference", payment.reference],
    ]),
    payment.reason ? el("p", { class: "quiet", text: payment.reason }) : "",
    payment.refunds?.length ? el("ul", { class: "refunds", "aria-label": "Refunds" }, payment.refunds.map((refund) => el("li", { class: `is-${refund.status}`, text:
      [`${amount(refund.amount)} to ${refund.to === "credit" ? "credit" : name.toLowerCase()}: ${REFUND[refund.status] ?? refund.status}`, refund.failureReason, refund.reason].filter(Boolean).join(" · ") }))) : "",
    el("div", { class: "row acts" },
      open && method === "cash" ? act("tender", "Cash received", "primary", id) : "",
      method === "qr_code_bank_transfer" && payment.received === undefined ? act("arrived", "Money has arrived", open ? "primary" : "", id) : "",
      open && method !== "cash" && method !== "qr_code_bank_transfer" ? act("look", "Ask the provider", "", id) : "",
      open ? act("give-up", "Give up", "ghost", id) : "",
      payment.refundable > 0 ? act("refund", "Refund", "", id) : ""));
}

export const sums = (rows) => el("dl", { class: "sums-list" }, rows.filter(Boolean).map(([name, value, kind]) =>
  el("div", { class: kind }, el("dt", { text: name }), el("dd", { text: value }))));
