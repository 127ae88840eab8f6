// How to pay: the ways a cafe takes, a transfer by code, and a payment that somebody else's page is to confirm.
import { button, duration, el } from "./common.js";

export const TRANSFER = "qr_code_bank_transfer";
/** What to say of a payment that came to nothing, by its status. */
export const OUTCOME = {
  failed: "Your payment was declined. Nothing was charged; please try again or choose another way.",
  cancelled: "That payment was given up. Nothing was charged; choose how to pay when you are ready.",
  expired: "That payment has expired. Should money still arrive, we will find it; please choose again how to pay.",
};
const WAYS = {
  payconic_card: "Pay by card", payconic_digital_wallet: "Pay by wallet", payconic_bank_transfer: "Pay from your bank",
  stripe_card: "Pay by card (Stripe)", [TRANSFER]: "Pay now by bank transfer",
};

export const secondsLeft = (payment) => (Date.parse(payment.expiresAt) - Date.now()) / 1000;

const tipOf = (rest, basisPoints) => Math.round((rest * basisPoints) / 10_000);

/**
 * A button for each way, and what to add as a tip. `choose` is called with what to initiate: all that is owed and the
 * tip; of credit that does not reach so far, what there is.
 */
export function chooser({ rest, ways, credit, presets, tip, busy }, cents, { setTip, choose }) {
  const tipAmount = tipOf(rest, tip);
  const pay = (text, wanted, at) => el("button", {
    type: "button", class: at === 0 ? "primary" : "", text: busy ? "One moment…" : text, disabled: busy,
    data: { key: at === 0 ? "pay" : `pay-${wanted.paymentMethod}`, way: wanted.paymentMethod }, on: { click: () => choose(wanted) },
  });
  const shown = ways.filter((way) => WAYS[way]).map((way) => [WAYS[way], { paymentMethod: way, ...(tipAmount > 0 && { tipAmount }) }]);
  if (credit > 0 && ways.includes("customer_credit")) shown.unshift(byCredit(credit, rest, tipAmount, cents));
  return [
    presets.length ? el("div", { class: "row tips", role: "group", "aria-label": "Tip" }, [0, ...presets].map((each) => el("button", {
      type: "button", "aria-pressed": String(each === tip), disabled: busy, data: { key: `tip-${each}` }, on: { click: () => setTip(each) },
      text: each ? `Tip ${each / 100}% · ${cents(tipOf(rest, each))}` : "No tip",
    }))) : "",
    el("div", { class: "row ways" }, shown.map(([text, wanted], at) => pay(text, wanted, at))),
  ];
}

function byCredit(credit, rest, tipAmount, cents) {
  const whole = credit >= rest + tipAmount;
  const amount = Math.min(credit, rest);
  const sum = whole ? rest + tipAmount : amount;
  return [`Pay ${cents(sum)} with your credit`, { paymentMethod: "customer_credit", ...(whole ? tipAmount > 0 && { tipAmount } : { amount }) }];
}

/** A payment that is confirmed elsewhere: where to go, and a way back. */
export function underWay(payment, cents, busy, { giveUp }) {
  return el("div", { class: "pay under-way", role: "status" },
    el("p", {}, "Waiting for your payment of ", el("strong", { text: cents(payment.totalAmount) }), " to be confirmed."),
    el("p", { class: "quiet", text: "This page notices by itself." }),
    el("div", { class: "row" },
      payment.redirectUrl && /^https?:/.test(payment.redirectUrl) ? el("a", { class: "button primary", href: payment.redirectUrl, text: "Go to the payment page" }) : "",
      button("Pay another way", "give-up", giveUp, "ghost", busy)));
}

/** A code for the banking app, with the seconds it is good for in `data-left`. */
export function transfer(payment, cents, { renew, forget, aside, copied }) {
  const { qrCodeData, reference, totalAmount } = payment;
  const left = secondsLeft(payment);
  if (left <= 0) {
    return el("div", { class: "pay" }, el("p", { text: "This payment code has expired. If you have paid already, we will find your transfer." }),
      el("div", { class: "row" }, button("Get a new code", "pay", renew, "primary"), button("Pay at the counter", "later", forget, "ghost")));
  }
  const copy = () => navigator.clipboard.writeText(reference).then(copied, () => {});
  return el("div", { class: "pay transfer" },
    /^data:image\/png;base64,/.test(qrCodeData ?? "") ? el("img", { src: qrCodeData, alt: "QR code of the bank transfer", width: 208, height: 208 }) : "",
    el("div", {}, el("p", { text: "Scan with your banking app, or transfer with this reference:" }),
      el("p", { class: "reference" }, el("code", { text: reference ?? "" }), navigator.clipboard ? button("Copy", "copy", copy, "ghost") : ""),
      el("p", {}, el("strong", { text: cents(totalAmount) }), " · code valid for ", el("span", { data: { left: "" }, text: duration(left) })),
      el("p", { class: "quiet", text: "This page notices by itself when the money has arrived." }),
      button("Pay another way", "later", aside, "ghost")));
}
