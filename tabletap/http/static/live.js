// A small socket client: connects, resumes where it stopped, and never loses an event in silence.
//
//   const live = new Live({ door: "kitchen", cafe: "demo", token, after: 1041, ... });
//   live.start(); live.stop(); live.reached(offset); live.send({ op: "ping", id: "1" });
//
// onEvent(event)     an event not seen before, in order
// onState(name)      "connecting" | "live" | "waiting" | "stopped"
// onWelcome(message) the socket is up; `message.offset` is the server's
// onReload()         state may have been missed (resync, offsets that went back, silence): fetch it again
// onDenied(code)     the server will not have us (expired, forbidden, policy): no more attempts
// onUnopened(count)  an attempt ended before the socket opened; browsers hide why, so ask by REST

const DENIED = new Set([1008, 4001, 4003]);
const WELCOME_MS = 10_000;
const STEADY_MS = 5_000; // a socket that lasted this long makes the next wait short again
const RELOAD_MS = 60_000; // at most one reload a minute on the word of a heartbeat alone

/** Milliseconds before attempt `tries` (0, 1, ...): exponential, capped, half of it at random. */
export function backoff(tries, random = Math.random(), base = 500, cap = 20_000) {
  const whole = Math.min(cap, base * 2 ** Math.min(tries, 16));
  return Math.round(whole / 2 + (whole / 2) * random);
}

export function socketUrl(origin, door, cafe, after) {
  const url = new URL(`/ws/${door}`, origin);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("cafe", cafe);
  if (after !== null && after !== undefined) url.searchParams.set("after", String(after));
  return url.href;
}

/** Says of each event whether it is new. Offsets only grow within a room; one offset may carry two events. */
export class Seen {
  constructor(floor = null) {
    this.floor = floor; // everything up to here is known by other means (a list with its offset)
    this.rooms = new Map();
  }

  get last() {
    let last = this.floor;
    for (const { offset } of this.rooms.values()) if (last === null || offset > last) last = offset;
    return last;
  }

  isNew({ room, offset, eventId }) {
    if (typeof offset !== "number") return true;
    if (this.floor !== null && offset <= this.floor) return false;
    const known = this.rooms.get(room);
    if (!known || offset > known.offset) {
      this.rooms.set(room, { offset, ids: new Set([eventId]) });
      return true;
    }
    if (offset < known.offset || known.ids.has(eventId)) return false;
    known.ids.add(eventId);
    return true;
  }

  reset(floor = null) {
    this.floor = floor;
    this.rooms.clear();
  }
}

export class Live {
  constructor({ door, cafe, token, after = null, origin = location.origin, ...handlers }) {
    Object.assign(this, { door, cafe, token, origin, handlers });
    this.seen = new Seen(after);
    this.socket = null;
    this.tries = 0;
    this.unopened = 0;
    this.beat = 30_000;
    this.checked = after ?? 0; // the highest heartbeat offset already accounted for
    this.reloadedAt = 0;
    this.running = false;
    this.timer = null; // the next attempt
    this.watchdog = null; // silence
    this.wake = () => this.#wake();
  }

  start() {
    if (this.running) return;
    this.running = true;
    addEventListener("online", this.wake);
    addEventListener("pageshow", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.#connect();
  }

  stop() {
    this.running = false;
    removeEventListener("online", this.wake);
    removeEventListener("pageshow", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.#drop();
    this.#state("stopped");
  }

  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** State up to `offset` was fetched by REST: older events are of no more use. */
  reached(offset) {
    if (typeof offset !== "number") return;
    this.seen.floor = Math.max(this.seen.floor ?? offset, offset);
    this.checked = Math.max(this.checked, offset);
  }

  #connect() {
    this.#drop();
    if (!this.running) return;
    this.#state("connecting");
    const url = socketUrl(this.origin, this.door, this.cafe, this.seen.last);
    const socket = new WebSocket(url, ["tabletap.v1", `bearer.${this.token}`]);
    this.socket = socket;
    this.openedAt = 0;
    this.#watch(WELCOME_MS);
    socket.onopen = () => { this.openedAt = Date.now(); };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(code);
  }

  #receive(text) {
    let message;
    try { message = JSON.parse(text); } catch { return; }
    this.#watch(this.beat * 2.5);
    switch (message.type) {
      case "welcome":
        this.beat = message.heartbeatMs || this.beat;
        this.unopened = 0;
        this.#watch(this.beat * 2.5);
        if (this.#wentBack(message.offset)) this.#reload();
        this.#state("live");
        this.handlers.onWelcome?.(message);
        return;
      case "heartbeat": return this.#heartbeat(message.offset);
      case "resync": {
        this.seen.reset(message.offset ?? null);
        return this.#reload();
      }
      case "subscribed":
        if (message.recovered === false) this.#reload();
        return;
      case "unsubscribed": case "reply": case "error":
        this.handlers.onReply?.(message);
        return;
      default:
        if (this.seen.isNew(message)) this.handlers.onEvent?.(message);
    }
  }

  /** A heartbeat ahead of us may be other rooms' events, or a loss: once in a while we look. */
  #heartbeat(offset) {
    if (typeof offset !== "number") return;
    if (this.#wentBack(offset)) return this.#reload();
    const known = Math.max(this.seen.last ?? 0, this.checked);
    if (offset > known && Date.now() - this.reloadedAt > RELOAD_MS) {
      this.checked = offset;
      this.#reload();
    }
  }

  /** An offset below what we saw means another history (a restored database): forget ours. */
  #wentBack(offset) {
    const last = this.seen.last;
    if (typeof offset !== "number" || last === null || offset >= last) return false;
    this.seen.reset(offset);
    this.checked = offset;
    return true;
  }

  #reload() {
    this.reloadedAt = Date.now();
    this.handlers.onReload?.();
  }

  #closed(code) {
    const lasted = this.openedAt ? Date.now() - this.openedAt : -1;
    this.#drop();
    if (!this.running) return;
    if (DENIED.has(code)) {
      this.stop();
      this.handlers.onDenied?.(code);
      return;
    }
    if (lasted < 0) this.handlers.onUnopened?.(++this.unopened);
    if (!this.running) return; // the handler may have stopped us
    this.tries = lasted >= STEADY_MS ? 0 : this.tries;
    const slow = code === 4029 ? 4 : 0; // told that we talk too much: wait longer
    const wait = backoff(this.tries++ + slow);
    this.#state("waiting");
    this.timer = setTimeout(() => this.#connect(), wait);
  }

  #watch(ms) {
    clearTimeout(this.watchdog);
    // close() on a dead network waits for minutes, so we leave the old socket behind at once
    this.watchdog = setTimeout(() => this.#closed(1006), ms);
    this.heardAt = Date.now();
  }

  #wake() {
    if (!this.running || document.visibilityState === "hidden") return;
    const silent = this.socket && Date.now() - this.heardAt > this.beat * 1.5;
    if (!this.socket || silent) this.#connect();
  }

  #drop() {
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #state(name) {
    if (this.state === name) return;
    this.state = name;
    this.handlers.onState?.(name);
  }
}
