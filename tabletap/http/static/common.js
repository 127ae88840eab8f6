// What all pages share: elements, money, times, storage and the REST client.

/** An element. `props`: class, text, hidden..., on: {click}, data: {key}, and plain attributes. Text never becomes markup. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key === "class") node.className = value;
    else if (key === "on") for (const [type, heard] of Object.entries(value)) node.addEventListener(type, heard);
    else if (key === "data") Object.assign(node.dataset, value);
    else if (["checked", "disabled", "value", "hidden", "required", "open"].includes(key)) node[key] = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A button; `key` is what it is known by when it is drawn again with the focus on it. */
export const button = (text, key, click, kind = "", disabled = false) =>
  el("button", { type: "button", class: kind, text, disabled, data: { key }, on: { click } });

/**
 * Brings the children of `parent` in step with `items`: an element is made anew only where the item's `signature` has
 * changed, and the focus stays where it was. `drawn`: the caller's Map, empty at first.
 */
export function inStep(parent, items, drawn, signature, make) {
  const focus = document.activeElement?.dataset?.key;
  const keep = new Set(items.map(({ id }) => id));
  for (const [id, { node }] of drawn) if (!keep.has(id)) { node.remove(); drawn.delete(id); }
  items.forEach((item, at) => {
    const now = signature(item);
    const old = drawn.get(item.id);
    let node = old?.node;
    if (old?.signature !== now) {
      node = make(item);
      old?.node.replaceWith(node);
      drawn.set(item.id, { node, signature: now });
    }
    if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null);
  });
  if (focus && document.activeElement?.dataset?.key !== focus) parent.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
}

export const byId = (id) => document.getElementById(id);

export function slugFrom(path) {
  return decodeURIComponent(path.split("/").filter(Boolean)[0] ?? "");
}

export function money(cents, currency = "AUD") {
  return new Intl.NumberFormat("en-AU", { style: "currency", currency }).format(cents / 100);
}

export function clock(time) {
  return new Date(time).toLocaleTimeString("en-AU", { hour: "numeric", minute: "2-digit" });
}

/** 75 -> "1:15", 3700 -> "1:01:40" */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** randomUUID is missing on plain http, which a cafe's own network may well be. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Storage that neither a private window nor a full disk can break. */
export function store(kind) {
  const area = () => (kind === "local" ? localStorage : sessionStorage);
  return {
    get(key, fallback = null) {
      try { return JSON.parse(area().getItem(key)) ?? fallback; } catch { return fallback; }
    },
    set(key, value) {
      try {
        if (value === null) area().removeItem(key);
        else area().setItem(key, JSON.stringify(value));
      } catch { /* the page works on without memory */ }
    },
  };
}

export class ApiError extends Error {
  constructor(status, body = {}, retryAfter = 0) {
    super(body.error || `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.errors = Array.isArray(body.errors) ? body.errors : [];
    this.retryAfter = retryAfter;
  }

  /** Whether the request may or may not have been carried out: retry with the same key. */
  get unsure() { return this.status === 0 || this.status >= 500 || this.code === "DUPLICATE_IN_PROGRESS"; }

  get denied() { return this.status === 401 || this.status === 403; }
}

const KIND = {
  NETWORK: "We can't reach the cafe just now. Check your connection and try again; nothing is ordered or charged twice.",
  RATE_LIMIT_EXCEEDED: "That was a lot at once. Please wait a moment and try again.",
  DUPLICATE_IN_PROGRESS: "We are still working on that one. Please wait a moment.",
  AUTH_REQUIRED: "Please sign in first.",
  INVALID_TOKEN: "That token isn't known here. Please check it and try again.",
  TOKEN_EXPIRED: "Your session has ended. Please sign in again.",
  FORBIDDEN: "You aren't allowed to do that here.",
};

/** What to tell a person: a friendly line, then what the server said of each field. */
export function kindly(error) {
  if (!(error instanceof ApiError)) return ["Something went wrong on this page. Please reload it.", String(error?.message ?? "")].filter(Boolean);
  const first = KIND[error.code] ?? (error.status >= 500 ? "The cafe's server had a hiccup. Please try again." : error.message);
  const wait = error.retryAfter ? [`Try again in ${plural(error.retryAfter, "second")}.`] : [];
  return [first, ...wait, ...error.errors.map(({ message }) => message).filter((text) => text && text !== first)];
}

/** Shows an error (or hides the box when there is none). */
export function tell(box, error) {
  box.replaceChildren(...(error ? (Array.isArray(error) ? error : kindly(error)).map((line) => el("p", { text: line })) : []));
  box.hidden = !error;
  if (error) box.scrollIntoView?.({ block: "nearest" });
}

export async function api(path, { method = "GET", token, body, key, timeout = 15_000 } = {}) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeout);
  let response, data;
  try {
    response = await fetch(path, {
      method, headers, signal: abort.signal, cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    try { data = text ? JSON.parse(text) : {}; } catch { data = {}; }
  } catch {
    throw new ApiError(0, { code: "NETWORK", error: KIND.NETWORK });
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) throw new ApiError(response.status, data, Number(response.headers.get("Retry-After")) || 0);
  return data;
}
