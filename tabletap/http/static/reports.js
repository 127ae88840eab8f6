// Days: what has been since the last closing (X), the closings (Z) and their tables, and what a till says of a day beside
// what the server has counted of it.
import { ask } from "./asked.js";
import { ApiError, api, byId, el, kindly, money, tell } from "./common.js";
import { question } from "./question.js";
import { button, cell, rows, when } from "./sheet.js";

const IDENTITY = [
  ["carriedIn", "Carried in"], ["charged", "Charged"], ["orders", "Orders"], ["tenders", "Tenders"],
  ["rounding", "Cash rounding"], ["refunds", "Refunds"], ["open", "Open, carried forward"],
];
const SALES = [["gross", "Gross"], ["discounts", "Discounts"], ["voids", "Voids"], ["net", "Net sales"], ["serviceCharge", "Service charge"], ["giftCards", "Gift cards sold"]];
const DAILY = [
  ["totalSales", "Total sales"], ["totalOrders", "Orders"], ["cashSales", "Cash"], ["cardSales", "Card"], ["giftCardSales", "Gift cards"],
  ["onlineSales", "Online"], ["otherSales", "Other"], ["discounts", "Discounts"], ["refunds", "Refunds"], ["netSales", "Net sales"],
];
const COUNTS = new Set(["totalOrders"]);

/** The lines of a report that a person reads: [section, line, amount]. */
function lines({ identity, sales, tenders, tips, drawers, currency }) {
  const amount = (cents) => money(cents, currency);
  return [
    ...IDENTITY.map(([name, text]) => ["Balance", text, amount(identity[name])]),
    ...SALES.map(([name, text]) => ["Sales", text, amount(sales[name])]),
    ...Object.entries(sales.tax).map(([name, cents]) => ["Tax contained", name, amount(cents)]),
    ...tenders.map((one) => ["Tenders", one.method.replaceAll("_", " "), amount(one.taken)]),
    ["Tips", "Received", amount(tips.received)], ["Tips", "Owed to staff", amount(tips.undistributed + tips.owed)],
    ...drawers.map((one) => ["Drawers", one.name, one.counted === null ? `${amount(one.expected)} expected` : `${amount(one.counted)} (${amount(one.difference)})`]),
  ];
}

export class Reports {
  constructor(base, gate) {
    Object.assign(this, { base: `${base}/reports`, gate });
    byId("x-now").addEventListener("click", () => this.#try(() => this.#showX()));
    byId("x-csv").addEventListener("click", () => this.#try(() => this.#save("x")));
    byId("z-close").addEventListener("click", () => this.#close());
    byId("daily-day").addEventListener("change", () => this.#try(() => this.#drawDay()));
  }

  #get(path) { return api(`${this.base}/${path}`, { token: this.gate.token }); }

  async #try(act) {
    try {
      await act();
      tell(byId("error"), null);
    } catch (error) {
      tell(byId("error"), error);
    }
  }

  async draw(token) {
    const { businessDay } = await api(`${this.base}/x`, { token });
    byId("daily-day").value ||= businessDay;
    await Promise.all([this.#drawClosings(token), this.#drawDay(token)]);
  }

  async #showX() {
    const report = await this.#get("x");
    byId("x").hidden = false;
    byId("x-about").textContent = report.from ? `Since ${when(report.from)}` : "Since the cafe opened";
    rows("x-lines", lines(report.counted).map((line) => el("tr", {}, ...line.map((text) => cell(text)))));
  }

  async #drawClosings(token = this.gate.token) {
    const { reports } = await api(`${this.base}/z`, { token });
    byId("no-z").hidden = reports.length > 0;
    rows("z-reports", reports.map((one) => el("tr", {},
      cell(one.number), cell(one.businessDay), cell(when(one.from)), cell(when(one.to)), cell(one.closedBy.user ?? one.closedBy.role),
      cell(one.forcedOver.join(", ")), el("td", {}, button("CSV", () => this.#try(() => this.#save(`z/${one.number}`)), `Z ${one.number} as CSV`)))));
  }

  /** A table for the books. A link cannot carry a token, so it is fetched and handed over. */
  async #save(path) {
    const response = await fetch(`${this.base}/${path}?format=csv`, { headers: { Authorization: `Bearer ${this.gate.token}` }, cache: "no-store" });
    if (!response.ok) throw new ApiError(response.status);
    const url = URL.createObjectURL(await response.blob());
    el("a", { href: url, download: `${path.replace("/", "-")}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  #close(force = false, why = "") {
    question({
      title: force ? "Close over open drawers" : "Close the day", verb: force ? "Close all the same" : "Close it", fields: [],
      about: why || "The next Z ends the day here. What is open is carried forward.",
      act: async () => {
        try {
          const { number } = await ask(`${this.base}/z`, { force }, this.gate.token);
          byId("closed").textContent = `Z ${number} is closed`;
        } catch (error) {
          if (error.code !== "DRAWERS_OPEN") throw error;
          this.#close(true, kindly(error)[0]);
          return;
        }
        byId("x").hidden = true;
        await this.#drawClosings();
      },
    });
  }

  async #drawDay(token = this.gate.token) {
    const day = byId("daily-day").value;
    if (!day) return;
    const { reported, counted, differences } = await api(`${this.base}/daily/${day}`, { token });
    const told = reported?.report;
    byId("daily-about").textContent = told ? `Uploaded ${when(reported.uploadedAt)} by ${reported.by.device ?? reported.by.user ?? reported.by.role}` : "No till has reported this day.";
    const text = (name, value) => (value === undefined ? "" : COUNTS.has(name) ? String(value) : money(value));
    rows("daily", DAILY.map(([name, label]) => {
      const off = told?.[name] === undefined ? 0 : told[name] - counted[name];
      return el("tr", {}, cell(label), cell(text(name, told?.[name])), cell(text(name, counted[name])), cell(off ? text(name, off) : "", { class: "error-of" }));
    }));
    const others = differences.filter(({ field }) => field.includes("."));
    byId("daily-more").textContent = others.map(({ field, reported: theirs, counted: ours }) => `${field}: ${theirs}, not ${ours}`).join("; ");
  }
}
