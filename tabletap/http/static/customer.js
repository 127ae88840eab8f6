// The customer's page: menu, choice, basket, order. What comes after the order is in follow.js.
import { ApiError, api, byId, el, money, slugFrom, store, tell, uuid } from "./common.js";
import * as basket from "./basket.js";
import { Followed } from "./follow.js";

const slug = slugFrom(location.pathname);
const base = `/api/${encodeURIComponent(slug)}`;
const session = store("session");
const KEY = `tabletap:${slug}:basket`;

let cafe = null; // the answer of GET menu
let index = null;
let lines = session.get(KEY, []);
let attempt = null; // {key, body} of a placement whose outcome we don't know yet
let choice = null; // what the item dialog is about
let account = session.get("account"); // the token of a customer who is signed in
let credit = 0;
const followed = new Followed({
  slug, panel: byId("orders"), say, describe: (item) => basket.describe(index, item.sku, item.modifiers),
  account: () => account, ways: () => cafe.paymentMethods, tips: () => cafe.tipPresets, credit: () => credit,
  moneyMoved: async () => { if (account) { await lookUpCredit(); followed.show(cafe.currency); } },
});

const cents = (amount) => money(amount, cafe.currency);

function say(text) { byId("live-region").textContent = text; }

// ---- menu

async function load() {
  try {
    cafe = await api(`${base}/menu`);
  } catch (error) {
    const missing = error instanceof ApiError && error.status === 404;
    if (!cafe) byId("menu").replaceChildren(...(missing ? [] : [el("button", { class: "primary", type: "button", text: "Try again", on: { click: load } })]));
    if (!cafe) tell(byId("page-error"), missing ? ["We can't find that cafe. Please check the link or scan the code on your table again."] : error);
    return;
  }
  tell(byId("page-error"), null);
  index = basket.indexMenu(cafe.menu);
  const kept = lines.filter((line) => basket.still(index, line));
  if (kept.length < lines.length) say("Something in your basket is no longer on the menu and was taken out.");
  lines = kept;
  document.title = `${cafe.name} · Menu`;
  byId("cafe-name").textContent = cafe.name;
  byId("closed").hidden = cafe.accepting;
  drawTables();
  drawMenu();
  drawBasket();
  if (account) await lookUpCredit();
  followed.show(cafe.currency);
}

/** A token handed over behind the # is this tab's until it is closed; it never reaches a server's log. */
function signIn() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  account = given;
  session.set("account", account);
  history.replaceState(null, "", location.pathname + location.search);
}

async function lookUpCredit() {
  try {
    credit = (await api(`/api/credits/balance?cafe=${encodeURIComponent(slug)}`, { token: account })).balance;
  } catch (error) {
    if (!error.denied) return;
    account = null;
    session.set("account", null);
    credit = 0;
  }
  byId("credit").textContent = credit > 0 ? `Your credit: ${cents(credit)}` : "";
  byId("credit").hidden = !(credit > 0);
}

function drawMenu() {
  const filled = cafe.menu.categories.filter(({ id }) => cafe.menu.items.some(({ category }) => category === id));
  byId("categories").replaceChildren(el("ul", { class: "wide" }, filled.map(({ id, name }) => el("li", {}, el("a", { href: `#cat-${id}`, text: name })))));
  byId("menu").replaceChildren(...filled.map(({ id, name }) => el("section", { id: `cat-${id}`, "aria-labelledby": `h-${id}` },
    el("h2", { id: `h-${id}`, text: name }),
    el("ul", { class: "cards" }, cafe.menu.items.filter(({ category }) => category === id).map(card)))));
  byId("menu").setAttribute("aria-busy", "false");
}

const card = (item) => el("li", {}, el("button", {
  type: "button", class: "card", disabled: item.available === false, data: { sku: item.sku }, on: { click: () => choose(item.sku) },
},
el("span", { class: "card-name", text: item.name }),
el("span", { class: "card-price", text: item.available === false ? "Sold out" : `${item.sizes?.length > 1 ? "from " : ""}${cents(item.sizes?.[0]?.price ?? item.price)}` }),
el("span", { class: "card-text", text: item.description }),
item.allergens?.length ? el("span", { class: "allergens", text: allergens(item) }) : null));

const allergens = (item) => `Contains ${item.allergens.map((name) => name.replaceAll("-", " ")).join(", ")}`;

/** The table whose code was scanned. Who comes back from a provider's page still sits there. */
function tableAsked() {
  const asked = new URLSearchParams(location.search);
  if (asked.has("payment")) return session.get(`${KEY}:table`);
  session.set(`${KEY}:table`, asked.get("table"));
  return asked.get("table");
}

function drawTables() {
  const asked = tableAsked();
  const select = byId("table");
  const current = select.options.length ? select.value : asked;
  select.replaceChildren(el("option", { value: "", text: "Pick up at the counter" }),
    ...cafe.tables.map((name) => el("option", { value: name, text: `Table ${name}` })));
  select.value = cafe.tables.includes(current) ? current : "";
  byId("where").textContent = cafe.tables.includes(asked) ? `Table ${asked}` : "";
  byId("where").hidden = !byId("where").textContent;
  drawWho();
}

function drawWho() {
  const pickup = !byId("table").value;
  byId("name-label").textContent = pickup ? "Name, for us to call" : "Name (optional)";
  byId("name").required = pickup;
  byId("phone-field").hidden = !pickup;
  const service = cafe.serviceCharge;
  const charged = service?.channels.includes(pickup ? "online" : "table");
  byId("service").textContent = charged ? `A service charge of ${service.rate / 100}% is added.` : "";
  byId("service").hidden = !charged;
}

// ---- the choice

function choose(sku) {
  const item = index.items.get(sku);
  choice = { item, size: item.sizes?.[0]?.id, chosen: {}, quantity: 1 };
  byId("item-title").textContent = item.name;
  byId("item-description").textContent = item.description;
  byId("item-allergens").textContent = item.allergens?.length ? allergens(item) : "";
  byId("item-allergens").hidden = !item.allergens?.length;
  byId("item-note").value = "";
  tell(byId("item-error"), null);
  drawChoice();
  byId("item-dialog").showModal();
  byId("item-form").querySelector(".sheet-scroll").scrollTop = 0;
}

function drawChoice() {
  const { item, size, chosen } = choice;
  const focus = document.activeElement?.id;
  const sizes = item.sizes?.length > 1
    ? [fieldset("size", "Size", "Choose 1", item.sizes.map((each) => tick("radio", "size", each, each.id === size, cents(each.price), () => { choice.size = each.id; })))] : [];
  const groups = basket.openGroups(index, item, chosen).map(({ group, under }) => {
    const picked = chosen[group.id] ?? [];
    const single = group.max === 1;
    const options = group.options.map((option) => {
      const on = picked.includes(option.id);
      const price = option.price ? `${option.price > 0 ? "+" : ""}${cents(option.price)}` : "";
      const set = () => { chosen[group.id] = single ? [option.id] : on ? picked.filter((id) => id !== option.id) : [...picked, option.id]; };
      return tick(single ? "radio" : "checkbox", group.id, option, on, price, set, !single && !on && picked.length >= group.max);
    });
    if (single && group.min === 0) {
      options.unshift(tick("radio", group.id, { id: "-", name: "As it comes" }, !picked.length, "", () => { chosen[group.id] = []; }));
    }
    return fieldset(group.id, under ? `${under.name}: ${group.name}` : group.name, basket.rule(group), options, under);
  });
  byId("item-groups").replaceChildren(...sizes, ...groups);
  if (focus?.startsWith("opt-")) byId(focus)?.focus();
  byId("quantity").value = choice.quantity;
  byId("fewer").disabled = choice.quantity <= 1;
  const unit = basket.unitPrice(index, item.sku, basket.toModifiers(index, item, size, chosen));
  byId("add").textContent = `Add · ${cents(unit * choice.quantity)}`;
}

const fieldset = (id, name, hint, options, nested) => el("fieldset", { class: nested ? "nested" : "", data: { group: id } },
  el("legend", {}, name, " ", el("small", { text: hint })), options);

function tick(type, group, { id, name }, checked, price, set, disabled = false) {
  const change = () => { set(); tell(byId("item-error"), null); drawChoice(); };
  return el("label", { class: "tick" }, el("input", { type, id: `opt-${group}-${id}`, name: `group-${group}`, value: id, checked, disabled, on: { change } }),
    el("span", { text: name }), price ? el("span", { class: "quiet", text: price }) : null);
}

function addChosen(event) {
  event.preventDefault();
  const { item, size, chosen, quantity } = choice;
  const wrong = basket.problems(index, item, chosen);
  if (wrong.length) {
    tell(byId("item-error"), wrong.map(({ message }) => message));
    byId("item-groups").querySelector(`[data-group="${CSS.escape(wrong[0].group)}"] input`)?.focus();
    return;
  }
  const modifiers = basket.toModifiers(index, item, size, chosen);
  keep(basket.put(lines, { sku: item.sku, quantity, modifiers, note: byId("item-note").value.trim() }));
  byId("item-dialog").close();
  say(`${quantity} ${item.name} added to your basket`);
}

// ---- the basket

function keep(next) {
  lines = next;
  attempt = null; // another basket is another order
  session.set(KEY, lines);
  drawBasket();
}

function drawBasket() {
  const sum = cents(basket.total(index, lines));
  byId("basket-bar").hidden = !lines.length;
  byId("basket-count").textContent = basket.count(lines);
  byId("basket-total").textContent = sum;
  byId("sum").textContent = sum;
  byId("basket-lines").replaceChildren(...lines.map(basketLine));
  byId("place").disabled = !cafe.accepting || !lines.length || lines.some(soldOut);
  if (!lines.length) byId("basket-dialog").close();
}

const soldOut = ({ sku }) => index.items.get(sku).available === false;

function basketLine(line, at) {
  const { name } = index.items.get(line.sku);
  const change = (by) => keep(lines.map((each, n) => (n === at ? { ...each, quantity: each.quantity + by } : each)).filter(({ quantity }) => quantity > 0));
  const button = (text, label, by) => el("button", { type: "button", text, "aria-label": `${label} ${name}`, disabled: line.quantity + by > 99, on: { click: () => change(by) } });
  return el("li", { class: soldOut(line) ? "sold-out" : "" },
    el("div", { class: "line-main" }, el("strong", { text: name }),
      el("small", { class: "quiet", text: [...basket.describe(index, line.sku, line.modifiers), line.note && `“${line.note}”`].filter(Boolean).join(" · ") }),
      soldOut(line) ? el("small", { class: "warn", text: "Sold out just now. Please take it out." }) : null),
    el("div", { class: "stepper small" }, button("−", line.quantity === 1 ? "Remove" : "One fewer", -1), el("output", { text: String(line.quantity) }), button("+", "One more", 1)),
    el("span", { class: "line-price", text: cents(basket.unitPrice(index, line.sku, line.modifiers) * line.quantity) }));
}

async function place(event) {
  event.preventDefault();
  const box = byId("basket-error");
  const value = (id) => byId(id).value.trim();
  if (byId("name").required && !value("name")) {
    tell(box, ["Please tell us a name, so that we can call you."]);
    byId("name").focus();
    return;
  }
  const table = byId("table").value;
  const body = basket.orderRequest(lines, { table, name: value("name"), phone: table ? "" : value("phone"), note: value("note") });
  // after an uncertain answer the same order is sent again under the same key
  if (!attempt || JSON.stringify(attempt.body) !== JSON.stringify(body)) attempt = { key: uuid(), body };
  tell(box, null);
  busy(true);
  try {
    const order = await api(`${base}/orders`, { method: "POST", body, key: attempt.key, token: account ?? undefined });
    byId("note").value = "";
    keep([]);
    followed.add(order);
    say(`Order ${order.number} is placed`);
    scrollTo({ top: 0, behavior: "instant" });
  } catch (error) {
    if (!error.unsure) attempt = null;
    tell(box, error);
    if (error.status >= 400 && error.status < 500 && error.status !== 429) await load(); // sold out, closed, a new menu
  } finally {
    busy(false);
  }
}

function busy(on) {
  byId("place").textContent = on ? "Sending…" : "Place order";
  byId("place").disabled = on || !cafe.accepting || !lines.length || lines.some(soldOut);
}

// ---- wiring

byId("item-form").addEventListener("submit", addChosen);
byId("basket-form").addEventListener("submit", place);
byId("table").addEventListener("change", drawWho);
byId("open-basket").addEventListener("click", () => { tell(byId("basket-error"), null); byId("basket-dialog").showModal(); });
for (const [id, by] of [["fewer", -1], ["more", 1]]) {
  byId(id).addEventListener("click", () => { choice.quantity = Math.min(99, Math.max(1, choice.quantity + by)); drawChoice(); });
}
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
signIn();
let loadedAt = Date.now();
/** What has sold out meanwhile must not wait in a basket: look when the page is looked at, and while it is. */
function refresh(after) {
  if (document.hidden || Date.now() - loadedAt < after || byId("item-dialog").open) return;
  loadedAt = Date.now();
  load();
}
addEventListener("focus", () => refresh(5_000));
setInterval(() => refresh(15_000), 5_000);
load();
