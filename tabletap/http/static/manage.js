// The management page of a cafe's tills: their keys, who is connected and how far each has got, what they can ask, what
// has passed between them and the server, and the reports of days.
import { ApiError, api, byId, el, plural, slugFrom, tell } from "./common.js";
import { Gate, showLink } from "./gate.js";
import { question } from "./question.js";
import { Reports } from "./reports.js";
import { button, cell, rows, when } from "./sheet.js";

const slug = slugFrom(location.pathname);
const base = `/api/${encodeURIComponent(slug)}`;
const LOOK_MS = 4_000; // well below what the server lets one person ask
const LINES = 50;
const SCOPES = [["read,write", "Hear and change"], ["read", "Hear only"]];

/** What tills can ask: method, path below the cafe's, what it does, and a body to try it with. */
const ENDPOINTS = [
  ["GET", "/health", "Are key, tenant and server well?"],
  ["GET", "/orders/pending", "Open online and table orders, and the cursor to go on from"],
  ["GET", "/orders/pending?after=CURSOR&wait=20", "Orders that something has happened to since; waits for news"],
  ["GET", "/events?after=CURSOR&wait=20", "The same as events, just as a socket has them"],
  ["POST", "/orders/batch", "Move many orders in one call", { updates: [{ orderId: "ORDER", move: "accept" }] }],
  ["GET", "/gift-cards/CARD/balance", "What is on a gift card"],
  ["POST", "/gift-cards/CARD/deduct", "Pay with a gift card", { amount: 500, orderId: "ORDER" }],
  ["POST", "/gift-cards/CARD/refund", "Put back what was paid with it", { transactionId: "TRANSACTION", amount: 500 }],
  ["GET", "/gift-cards/CARD/transactions", "What moved on a gift card"],
  ["GET", "/loyalty/PHONE/points", "A customer's points"],
  ["POST", "/loyalty/PHONE/add", "Give points", { points: 10, orderId: "ORDER" }],
  ["POST", "/loyalty/PHONE/redeem", "Redeem points", { points: 10, orderId: "ORDER" }],
  ["GET", "/loyalty/PHONE/history", "What moved on a customer's points"],
  ["POST", "/reports/daily", "The report of the day", { reportDate: "2026-01-31", totalSales: 0, totalOrders: 0, cashSales: 0, cardSales: 0, giftCardSales: 0, onlineSales: 0, discounts: 0, refunds: 0, netSales: 0, topItems: [], busyHours: [], staffShifts: [] }],
  ["GET", "/reports/daily?from=2026-01-01&to=2026-01-31", "The reports of some days"],
  ["GET", "/reports/daily/DAY", "That day beside what we counted, and where they differ"],
  ["GET", "/reports/x?format=csv", "What has been since the day was closed last"],
  ["GET", "/reports/z", "The days that were closed"],
  ["GET", "/reports/z/NUMBER?format=csv", "One of them"],
  ["GET", "/pos-status", "Who is connected, how far each till has got"],
];

let looking = 0; // which round of looking is the one that counts

const gate = new Gate(`tabletap:${slug}:manage`, open, () => { looking += 1; hideKey(); });

const reports = new Reports(base, gate);

async function open(token) {
  const [{ name }] = await Promise.all([api(`${base}/menu`), drawAll(token), reports.draw(token)]);
  byId("cafe-name").textContent = `${name} · Tills`;
  document.title = `${name} · Tills`;
  look(token, (looking += 1));
}

/** Looks again and again, as long as the same person is signed in. */
async function look(token, round) {
  for (;;) {
    await new Promise((go) => { setTimeout(go, LOOK_MS); });
    if (round !== looking) return;
    try {
      await drawAll(token);
      tell(byId("error"), null);
    } catch (error) {
      if (round !== looking) return;
      if (error instanceof ApiError && error.denied) { gate.ask(error); return; }
      showLink("waiting");
    }
  }
}

async function drawAll(token) {
  const get = (path) => api(base + path, { token });
  const [keys, status, log] = await Promise.all([get("/pos-keys"), get("/pos-status"), get(`/pos-logs?limit=${LINES}`)]);
  drawKeys(keys.keys);
  drawTills(status);
  drawLog(log.lines, status.tills, keys.keys);
  showLink("live");
}

// ---- tables

function drawTills({ connections, tills }) {
  const since = new Map(connections.map((one) => [`${one.keyId} ${one.till}`, one.since]));
  rows("tills", tills.map((till) => el("tr", { class: till.connected ? "" : "gone" },
    cell(till.till), cell(till.connected ? "Connected" : "Away", { class: till.connected ? "on" : "off" }),
    cell(when(since.get(`${till.keyId} ${till.till}`) ?? till.seenAt)), cell(till.cursor),
    cell(till.lag ? plural(till.lag, "event") : "nothing"), cell(till.lastError, { class: "error-of" }))));
  byId("no-tills").hidden = tills.length > 0;
  byId("till-count").textContent = `${plural(connections.length, "till")} connected`;
}

function stateOf(key) {
  if (key.revokedAt) return `Revoked ${when(key.revokedAt)}`;
  const overlaps = key.previousUntil && new Date(key.previousUntil) > new Date();
  return overlaps ? `Good; the one before until ${when(key.previousUntil)}` : "Good";
}

function drawKeys(keys) {
  rows("keys", keys.map((key) => el("tr", { class: key.revokedAt ? "gone" : "" },
    cell(key.name), el("td", {}, el("code", { text: `${key.hint}…` })), cell(key.scopes.join(", ")),
    cell(when(key.createdAt)), cell(when(key.lastUsedAt) || "never"), cell(stateOf(key)),
    el("td", {}, ...(key.revokedAt ? [] : [
      button("Rotate", () => rotate(key), `Rotate ${key.name}`), button("Revoke", () => revoke(key), `Revoke ${key.name}`),
    ])))));
}

function drawLog(lines, tills, keys) {
  const names = new Map(keys.map((key) => [key.keyId, key.name]));
  rows("log", lines.map((line) => el("tr", {},
    cell(when(line.at)), cell(line.till ?? names.get(line.keyId)), cell(`${line.kind} ${line.what}`), cell(offsets(line)),
    cell(line.status), cell(line.error, { class: "error-of" }))));
}

function offsets({ firstOffset, lastOffset, events }) {
  const span = firstOffset && firstOffset !== lastOffset ? `${firstOffset}–${lastOffset}` : `${lastOffset ?? ""}`;
  return events === undefined ? span : `${span} (${events})`;
}

// ---- copying

/** The clipboard is missing on plain http, which a cafe's own network may well be: then the text is chosen, to be copied. */
async function copy(text, from) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(from.previousElementSibling ?? from);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return;
  }
  const was = from.textContent;
  from.textContent = "Copied";
  setTimeout(() => { from.textContent = was; }, 1_500);
}

const copier = (text, label) => button("Copy", ({ target }) => copy(text, target), `Copy ${label}`);

function shellLine([method, path, , body]) {
  const parts = [`curl -X ${method} '${location.origin}${base}${path}'`, "-H 'X-API-Key: KEY'", `-H 'X-Tenant-ID: ${slug}'`];
  if (body) parts.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(body)}'`);
  return parts.join(" ");
}

function drawOnce() {
  const socket = `${location.origin.replace(/^http/, "ws")}/ws/pos/${encodeURIComponent(slug)}`;
  const urls = [["Socket, with X-API-Key (?till=NAME for several tills of one key)", socket], ["REST, with X-API-Key and X-Tenant-ID", location.origin + base]];
  byId("urls").replaceChildren(...urls.flatMap(([name, url]) => [
    el("dt", { text: name }), el("dd", { class: "row" }, el("code", { text: url }), copier(url, url)),
  ]));
  rows("endpoints", ENDPOINTS.map((one) => el("tr", {},
    el("td", {}, el("code", { text: `${one[0]} ${base}${one[1]}` })), cell(one[2]), el("td", {}, copier(shellLine(one), `${one[0]} ${one[1]}`)))));
}

// ---- what can be done

function showKey({ name, key }) {
  byId("shown-title").textContent = `The key “${name}”`;
  byId("shown-key").textContent = key;
  byId("shown").hidden = false;
  byId("shown").scrollIntoView({ block: "nearest" });
}

function hideKey() {
  byId("shown").hidden = true;
  byId("shown-key").textContent = "";
}

const post = (path, body) => api(base + path, { method: "POST", token: gate.token, body });

function make() {
  question({
    title: "A new key", verb: "Make the key",
    about: "One key serves one till, or several that name themselves.",
    fields: [{ name: "name", label: "Name", kind: "text" }, { name: "scopes", label: "Good for", kind: "choice", options: SCOPES }],
    act: async ({ name, scopes }) => {
      showKey(await post("/pos-keys", { name, scopes: scopes.split(",") }));
      await drawAll(gate.token);
    },
  });
}

function rotate(key) {
  question({
    title: `Rotate ${key.name}`, verb: "Rotate the key",
    about: "The till keeps its cursor. For how long shall the old key stay good?",
    fields: [{ name: "overlap", label: "The old one stays good for", kind: "choice", options: [["24", "a day"], ["1", "an hour"], ["168", "a week"], ["0", "no time at all"]] }],
    act: async ({ overlap }) => {
      showKey(await post(`/pos-keys/${key.keyId}/rotate`, { overlapHours: Number(overlap) }));
      await drawAll(gate.token);
    },
  });
}

function revoke(key) {
  question({
    title: `Revoke ${key.name}`, verb: "Revoke the key", fields: [],
    about: "Its tills are disconnected at once, and it can never be used again.",
    act: async () => {
      await api(`${base}/pos-keys/${key.keyId}`, { method: "DELETE", token: gate.token });
      await drawAll(gate.token);
    },
  });
}

async function test() {
  byId("tested").textContent = "";
  try {
    const { heard } = await post("/pos-test", {});
    byId("tested").textContent = heard ? `${plural(heard, "till")} heard it` : "No till is connected";
    await drawAll(gate.token);
  } catch (error) {
    tell(byId("error"), error);
  }
}

byId("make").addEventListener("click", make);
byId("test").addEventListener("click", test);
byId("shown-done").addEventListener("click", hideKey);
byId("shown-copy").addEventListener("click", ({ target }) => copy(byId("shown-key").textContent, target));
drawOnce();
gate.begin();
