// The cash drawers at the counter: how they stand, as elements, and the questions by which they are opened, paid into
// and out of, and counted. Buttons carry data-act, and data-drawer where they are about one drawer.
import { sums } from "./bill.js";
import { clock, el, money } from "./common.js";
import { question } from "./question.js";

export function drawerPanel(drawers, busy) {
  const act = (name, text, kind = "", drawer = null) => el("button", {
    type: "button", class: kind, text, disabled: busy, data: { act: name, key: `${name}/${drawer ?? ""}`, ...(drawer && { drawer }) },
  });
  return [
    el("header", { class: "bill-head" }, el("h2", { text: "Drawers" }), act("close", "Close", "ghost")),
    ...drawers.map((drawer) => {
      const amount = (value) => money(value, drawer.currency);
      const { drawerId: id } = drawer;
      return el("article", { class: "payment is-completed", "aria-label": drawer.name },
        el("header", {}, el("h4", { text: drawer.name }), el("span", { class: "payment-status", text: `open since ${clock(drawer.openedAt)}` })),
        sums([
          ["Float", amount(drawer.floatAmount)],
          ["Cash payments", amount(drawer.cashPayments)],
          drawer.moved !== 0 && ["Paid in and out", amount(drawer.moved)],
          ["Should hold", amount(drawer.expected), "due"],
        ]),
        el("div", { class: "row acts" }, act("pay-in", "Pay in", "", id), act("pay-out", "Pay out", "", id), act("count", "Count and close", "primary", id)));
    }),
    drawers.length ? "" : el("p", { class: "quiet", text: "No drawer is open: cash is taken, but no drawer counts it." }),
    el("div", { class: "row acts" }, act("open-drawer", "Open a drawer", drawers.length ? "" : "primary big")),
  ];
}

/** `path`: of the cafe's drawers; `send(path, body)`: the drawer after it; `say(text)`: for the person who asked. */
export function askOfDrawer(act, drawer, { path, send, say }) {
  const own = drawer && `${path}/${drawer.drawerId}`;
  const moves = (verb, sign) => question({
    title: `${verb}: ${drawer.name}`, about: `It should hold ${money(drawer.expected, drawer.currency)}.`, verb,
    fields: [{ name: "amount", label: "Amount", kind: "money" }, { name: "reason", label: "Reason", kind: "text" }],
    act: async ({ amount, reason }) => {
      const { expected, currency } = await send(`${own}/pay`, { amount: sign * amount, reason });
      say(`${drawer.name} should hold ${money(expected, currency)}`);
    },
  });
  const ACTS = {
    "open-drawer": () => question({
      title: "Open a drawer", verb: "Open",
      fields: [{ name: "name", label: "Name", kind: "text", value: "Till" }, { name: "floatAmount", label: "Float", kind: "money", value: 0 }],
      act: (wanted) => send(path, wanted),
    }),
    "pay-in": () => moves("Pay in", 1),
    "pay-out": () => moves("Pay out", -1),
    // What it should hold is told afterwards: who knows it before counts to it.
    count: () => question({
      title: `Count ${drawer.name}`, about: "All that is in it, the float included. With that it is closed.", verb: "Close it",
      fields: [{ name: "counted", label: "Counted", kind: "money" }],
      act: async (wanted) => say(difference(await send(`${own}/count`, wanted))),
    }),
  };
  ACTS[act]?.();
}

function difference({ name, counted, expected, difference: off, currency }) {
  const amount = (value) => money(value, currency);
  const words = off === 0 ? "as it should be" : `${amount(Math.abs(off))} ${off < 0 ? "short of" : "over"} ${amount(expected)}`;
  return `${name}: ${amount(counted)}, ${words}`;
}
