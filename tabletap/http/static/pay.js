// How to pay: the ways a cafe takes, and a payment that somebody else's page is to confirm.
import { el } from "./common.js";

export const OVER = ["failed", "cancelled", "expired"];
const SAYS = {
  payconic_card: "Pay by card", payconic_digital_wallet: "Pay by wallet", payconic_bank_transfer: "Pay from your bank",
  stripe_card: "Pay by card (Stripe)", qr_code_bank_transfer: "Pay now by bank transfer",
};

/** A button for each way; credit only where there is some. */
export function chooser(ways, credit, cents, busy, choose) {
  const shown = ways.filter((way) => SAYS[way]).map((way) => [way, SAYS[way]]);
  if (credit > 0 && ways.includes("customer_credit")) shown.unshift(["customer_credit", `Pay with your credit (${cents(credit)})`]);
  return el("div", { class: "row ways" }, shown.map(([way, text], at) => el("button", {
    type: "button", class: at === 0 ? "primary" : "", text: busy ? "One moment…" : text, disabled: busy,
    data: { key: at === 0 ? "pay" : `pay-${way}`, way }, on: { click: () => choose(way) },
  })));
}

/** A payment that is confirmed elsewhere: where to go, and a way back. */
export function underWay(payment, cents, busy, { giveUp }) {
  return el("div", { class: "pay under-way", role: "status" },
    el("p", {}, "Waiting for your payment of ", el("strong", { text: cents(payment.totalAmount) }), " to be confirmed."),
    el("p", { class: "quiet", text: "This page notices by itself." }),
    el("div", { class: "row" },
      payment.redirectUrl && /^https?:/.test(payment.redirectUrl) ? el("a", { class: "button primary", href: payment.redirectUrl, text: "Go to the payment page" }) : "",
      el("button", { type: "button", class: "ghost", text: "Pay another way", disabled: busy, data: { key: "give-up" }, on: { click: giveUp } })));
}
