// A client of TableTap's sockets: one file without dependencies, for pages and for Node 20 and newer.
//
//   page, script:   <script src="/static/tabletap.js"></script>   then globalThis.TableTap
//   page, module:   import "/static/tabletap.js";                 then globalThis.TableTap
//   Node:           const TableTap = require("./tabletap.js")     or import TableTap from "./tabletap.js"
//
// Node before 22 has a WebSocket only with --experimental-websocket; else hand in a class as `WebSocket` (that of the
// npm package ws will do). Times are in milliseconds.
//
//   const client = new TableTap.Client({ url, door: "kitchen", cafe: "demo", token, onEvent, onResync });
//   client.start();
//   await client.perform("orders.start", { orderId }, { repeatable: true });
//
// token              a token, or an async function that gives fresh ones
// after              the last offset heard in an earlier life
// onEvent(event)     {type, room, offset, eventId, timestamp, data}: each once, and in order within its room
// onResync(state)    {room, offset, snapshot}: too much was missed; forget what is known of the room, this is how it stood
// onLeft(room)       {room, code, error}: the server lets us hear this room no more
// onStatus(status)   {state, code, pause, tries}: "connecting" | "live" | "waiting" | "stopped"
// onUnopened(count)  an attempt ended before the socket opened; WebSockets hide why, so ask by REST
// onDenied(code)     the server will not have us: no more attempts
// checkEvery         at most so often a room is checked for losses; null: never
(function (root, make) {
  if (typeof module === "object" && module.exports) module.exports = make();
  else root.TableTap = make();
})(globalThis, () => {
  "use strict";

  const WELCOME_MS = 10_000;
  const ANSWER_MS = 15_000; // a subscription may stay unanswered so long
  const STEADY_MS = 5_000; // a connection that lasted this long makes the next pause short again
  const SILENT_BEATS = 2.5; // a server that is silent for so many heartbeats is gone, whatever TCP believes
  const REFRESH_BEFORE_MS = 60_000;
  const RETRY_AFTER_AT_MOST_MS = 300_000;
  const REMEMBERED_MAX = 1024; // events between `whole` and `last`; older ones are taken as whole
  const BEYOND = Number.MAX_SAFE_INTEGER; // no log reaches it: whoever asks for what follows is given a snapshot
  const ABNORMAL = 1006, TOO_BIG = 1009, EXPIRED = 4001, TOO_MANY = 4029;
  const FOR_GOOD = new Set([1008, 4003]); // the same token would be turned away again
  const NOT_DONE = new Set(["OVERLOADED", "NOT_EXECUTED", "RATE_LIMIT_EXCEEDED"]);
  const PERHAPS_DONE = new Set(["OUTCOME_UNKNOWN", "UNAVAILABLE", "DUPLICATE_IN_PROGRESS"]);

  /** The server will not have us, and asking again would not help. `code`: a close code. */
  class Denied extends Error {
    constructor(code) { super(`denied with ${code}`); this.code = code; }
  }

  /** The server said no to a command, for good; nothing was done. `errors`: [{field, message}]. */
  class Refusal extends Error {
    constructor(op, { code, error, errors = [] }) { super(`${op}: ${code} ${error}`); Object.assign(this, { op, code, errors }); }
  }

  /** No answer came. `sent`: it may have been carried out; else it was not, and never will be. */
  class Unanswered extends Error {
    constructor(op, why, sent) {
      super(`${op}: ${why}, ${sent ? "nobody knows whether it was done" : "it was not done"}`);
      Object.assign(this, { op, sent });
    }
  }

  /** The connection must be begun anew: what was said on it does not fit together. */
  class Muddled extends Error {}

  /**
   * Where we stand in a room's story. `last`: the newest offset told, from which we resume; `whole`: up to here nothing
   * is missing, because a recovery or an unbroken row of offsets says so (offsets jump where other rooms had something
   * to hear). `asked`: the id of a subscription under way; until it is answered, what comes will be told again.
   */
  class Room {
    constructor(name, isDefault, last = null) {
      Object.assign(this, { name, isDefault, last: null, whole: -1, lost: false, asked: null, askedAt: 0 });
      Object.assign(this, { checking: null, proving: false, checkDue: 0 });
      this.logged = !/^flow:|:(presence|alerts|announcements)$/.test(name); // the rest is in no log, and shares offsets
      this.atLast = new Set();
      this.jumps = new Map();
      if (last !== null) this.begin(last);
    }

    get resumeAfter() {
      if (!this.logged) return null;
      return this.lost ? BEYOND : this.last;
    }

    begin(offset) {
      Object.assign(this, { last: offset, whole: offset, lost: false, checking: null, proving: false });
      this.atLast.clear();
      this.jumps.clear();
    }

    /** "new", "known" or "late". */
    take(offset, eventId) {
      if (this.last === null) this.begin(offset - 1);
      if (offset === this.last && !this.atLast.has(eventId) && (this.atLast.size || !this.logged)) {
        this.atLast.add(eventId);
        return "new";
      }
      if (offset <= this.whole || offset === this.last) return "known";
      if (offset < this.last) return this.jumps.has(`${offset} ${eventId}`) ? "known" : "late";
      if (offset === this.whole + 1) this.whole = offset;
      else {
        this.jumps.set(`${offset} ${eventId}`, offset);
        if (this.jumps.size > REMEMBERED_MAX) {
          const [key, oldest] = this.jumps.entries().next().value;
          this.jumps.delete(key);
          this.whole = oldest;
        }
      }
      this.last = offset;
      this.atLast = new Set([eventId]);
      return "new";
    }

    /** The check is through: nothing is missing up to where it was made. */
    prove() {
      this.whole = Math.max(this.whole, this.checking);
      if (this.last < this.whole) {
        this.last = this.whole;
        this.atLast.clear();
      }
      for (const [key, offset] of this.jumps) {
        if (offset > this.whole) break;
        this.jumps.delete(key);
      }
      Object.assign(this, { checking: null, proving: false });
    }
  }

  /** All rooms: what is subscribed again on a new connection, and what a message of the server is to whom. */
  class Rooms {
    constructor(client, after) {
      this.client = client;
      this.floor = after; // of default rooms whose names are not known yet
      this.all = new Map();
      this.wishes = new Map();
      this.left = new Set();
      this.ids = 0;
      this.ended = null;
      this.figures = { repeated: 0, late: 0, resyncs: 0, checks: 0 };
    }

    get resumeAfter() {
      const known = [...this.all.values()].filter((room) => room.isDefault && room.resumeAfter !== null).map((room) => room.resumeAfter);
      if (known.includes(BEYOND)) return BEYOND;
      return known.length ? Math.min(...known) : this.floor;
    }

    subscribe(name, after) {
      if (this.ended) return Promise.reject(this.ended);
      this.left.delete(name);
      const room = new Room(name, this.all.get(name)?.isDefault ?? false, after);
      this.all.set(name, room);
      const wish = this.wishes.get(name) ?? {};
      wish.promise ??= new Promise((granted, refused) => Object.assign(wish, { granted, refused }));
      this.wishes.set(name, wish);
      this.#ask(room);
      return wish.promise;
    }

    unsubscribe(name) {
      this.all.delete(name);
      this.left.add(name);
      this.#settle(name, new Refusal("subscribe", { code: "CANCELLED", error: `${name} was left again` }));
      this.#leave(name);
    }

    connected(welcome) {
      this.floor ??= welcome.offset;
      const given = welcome.rooms ?? [];
      for (const name of given) if (!this.all.has(name) && !this.left.has(name)) this.all.set(name, new Room(name, true, this.floor));
      for (const name of this.left) given.includes(name) ? this.#leave(name) : this.left.delete(name);
      for (const room of this.all.values()) {
        this.#due(room);
        if (!room.isDefault) this.#ask(room);
      }
    }

    disconnected() {
      for (const room of this.all.values()) Object.assign(room, { asked: null, checking: null, proving: false });
    }

    end(reason) {
      this.ended = reason;
      for (const name of [...this.wishes.keys()]) this.#settle(name, reason);
    }

    /** Whether an event or a `resync` is for the user. */
    take({ type, room: name, offset, eventId }) {
      const room = this.#of(name);
      if (!room) return false;
      if (type === "resync") {
        room.begin(offset);
        room.asked = null;
        this.#due(room);
        this.#settle(name);
        this.figures.resyncs++;
        return true;
      }
      if (room.asked !== null || room.lost) return false;
      const verdict = room.take(offset, eventId);
      if (verdict === "late") {
        this.figures.late++;
        this.#askForSnapshot(room);
      } else if (verdict === "known" && !room.proving) this.figures.repeated++;
      return verdict === "new";
    }

    subscribed({ id, room: name, offset }) {
      const room = this.#of(name);
      if (!room || (room.asked !== null && room.asked !== id)) return;
      room.asked = null;
      this.#settle(name);
      if (room.last === null) room.begin(offset);
      else if (room.lost) throw new Muddled("a snapshot was asked for");
      else if (offset > room.last) this.#askForSnapshot(room); // what lies between is not told
      room.proving = room.checking !== null;
    }

    /** A subscription that is not to be had: the room that is left, if nobody waits for it. */
    refused({ id, code, error, errors }) {
      const room = id === undefined || id === null ? null : [...this.all.values()].find(({ asked }) => asked === id);
      if (!room) return null;
      room.asked = null;
      if (NOT_DONE.has(code) || PERHAPS_DONE.has(code)) throw new Muddled(`${room.name} is not to be had now: ${code}`);
      if (room.checking !== null) {
        room.checkDue = Infinity;
        throw new Muddled(`${room.name} cannot be checked: ${code}`);
      }
      this.all.delete(room.name);
      this.left.add(room.name);
      const waited = this.#settle(room.name, new Refusal("subscribe", { code, error, errors }));
      return waited ? null : { room: room.name, code, error };
    }

    /** Everything up to `newest` has been sent. */
    heartbeat(newest) {
      const now = this.client.now();
      for (const room of this.all.values()) {
        if (room.asked !== null) {
          if (now - room.askedAt > ANSWER_MS) throw new Muddled(`no answer about ${room.name}`);
        } else if (room.last === null || !room.logged) continue;
        else if (room.lost || newest < room.last) this.#askForSnapshot(room); // else another history: a database set back
        else if (room.proving) room.prove();
        else if (newest > room.whole && this.client.checkEvery !== null && now >= room.checkDue) {
          this.figures.checks++;
          this.#due(room);
          this.#ask(room, room.whole);
          room.checking = newest;
        }
      }
    }

    #due(room) {
      if (this.client.checkEvery !== null && room.checkDue !== Infinity) room.checkDue = this.client.now() + this.client.checkEvery * (0.5 + this.client.random());
    }

    #askForSnapshot(room) {
      Object.assign(room, { lost: true, checking: null });
      this.#ask(room);
    }

    #ask(room, after = room.resumeAfter) {
      if (!this.client.isLive) return; // the next connection asks
      room.asked = `s${++this.ids}`;
      room.askedAt = this.client.now();
      this.client.say({ op: "subscribe", id: room.asked, room: room.name, ...(after === null ? {} : { after }) });
    }

    #leave(name) { this.client.say({ op: "unsubscribe", id: `s${++this.ids}`, room: name }); }

    #settle(name, failure = null) {
      const wish = this.wishes.get(name);
      this.wishes.delete(name);
      if (wish) failure ? wish.refused(failure) : wish.granted();
      return Boolean(wish);
    }

    #of(name) {
      if (!this.all.has(name) && !this.left.has(name)) this.all.set(name, new Room(name, true, this.floor));
      return this.all.get(name);
    }
  }

  /** Commands on their way: each is settled exactly once. One without a key is sent again only if it is `repeatable`. */
  class Commands {
    constructor(client, inFlight, waiting, messageBytes) {
      Object.assign(this, { client, inFlight, most: waiting, messageBytes, asked: new Map(), queue: [], ids: 0, repeated: 0, ended: null });
    }

    perform(message, repeatable, timeout) {
      const { op } = message;
      return new Promise((resolve, reject) => {
        const one = { op, message, repeatable, resolve, reject, sent: false, tries: 0, refusal: null, id: null, pause: null };
        const size = new TextEncoder().encode(JSON.stringify(message)).length;
        if (this.ended) return reject(this.ended);
        if (size > this.messageBytes) return reject(new Unanswered(op, `a message has at most ${this.messageBytes} bytes`, false));
        if (this.asked.size >= this.inFlight && this.queue.length >= this.most) return reject(new Unanswered(op, "too many commands wait already", false));
        one.deadline = timeout === Infinity ? null : this.client.timers.setTimeout(() => {
          this.#settle(one, one.refusal ?? new Unanswered(op, `no answer within ${timeout} ms`, one.sent));
        }, timeout);
        this.queue.push(one);
        this.#next();
      });
    }

    connected() {
      for (const one of this.asked.values()) {
        if (one.pause !== null) continue;
        this.repeated += Number(one.sent);
        this.#send(one);
      }
    }

    disconnected(tooBig) {
      for (const one of [...this.asked.values()]) {
        if (!one.sent || one.pause !== null || (one.repeatable && !tooBig)) continue;
        this.#settle(one, new Unanswered(one.op, tooBig ? "the server would not take so much" : "the connection ended", true));
      }
    }

    end(reason) {
      this.ended = reason;
      for (const one of [...this.asked.values(), ...this.queue]) this.#settle(one, reason);
    }

    /** An answer. Whether anybody waited for it. */
    heard({ type, id, data, code, error, errors }) {
      const one = this.asked.get(id);
      if (!one || one.pause !== null) return false;
      if (type === "reply") {
        this.#settle(one, null, data);
        return true;
      }
      const refusal = new Refusal(one.op, { code, error, errors });
      if (PERHAPS_DONE.has(code) && !one.repeatable) this.#settle(one, new Unanswered(one.op, code, true));
      else if (PERHAPS_DONE.has(code) || NOT_DONE.has(code)) this.#again(one, NOT_DONE.has(code) ? refusal : null);
      else this.#settle(one, refusal);
      return true;
    }

    #again(one, refusal) {
      one.refusal = refusal;
      this.asked.delete(one.id);
      this.#name(one);
      this.repeated++;
      one.pause = this.client.timers.setTimeout(() => {
        one.pause = null;
        this.#send(one);
      }, this.client.pause(one.tries++));
    }

    #name(one) {
      one.id = `c${++this.ids}`;
      this.asked.set(one.id, one);
    }

    #next() {
      while (this.queue.length && this.asked.size < this.inFlight) {
        const one = this.queue.shift();
        this.#name(one);
        this.#send(one);
      }
    }

    #send(one) { one.sent = this.client.say({ ...one.message, id: one.id }) || one.sent; }

    #settle(one, failure, data) {
      const { clearTimeout } = this.client.timers;
      clearTimeout(one.deadline);
      clearTimeout(one.pause);
      this.asked.delete(one.id);
      this.queue = this.queue.filter((other) => other !== one);
      failure ? one.reject(failure) : one.resolve(data);
      this.#next();
    }
  }

  /** When a token runs out (milliseconds since the epoch), as far as it says so itself. */
  function expiresAt(token) {
    try {
      const { exp } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
      return typeof exp === "number" ? exp * 1000 : null;
    } catch { return null; }
  }

  /** setTimeout takes 32 bits: a longer wait than 24 days is none of ours. */
  const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

  class Client {
    #source; #token; #socket = null; #live = false; #running = false; #acked = -1;
    #timer = null; #watchdog = null; #refresh = null; #silentAfter = WELCOME_MS; #heardAt = 0;
    #welcomedAt = null; #opened = false; #unopened = 0; #tries = 0;

    constructor({
      url = globalThis.location?.origin, door, cafe, token, after = null, checkEvery = 60_000, firstPause = 500, longestPause = 20_000,
      inFlight = 16, waiting = 1024, messageBytes = 65_536, maxMessage = 16 * 1024 * 1024, WebSocket = globalThis.WebSocket,
      timers = { setTimeout: (work, ms) => setTimeout(work, ms), clearTimeout: (timer) => clearTimeout(timer), now: () => Date.now() },
      random = Math.random, ...handlers
    }) {
      if (!WebSocket) throw new Error("there is no WebSocket here: run node with --experimental-websocket, or hand one in");
      Object.assign(this, { url, door, cafe, checkEvery, firstPause, longestPause, maxMessage, WebSocket, timers, random, handlers });
      this.#source = typeof token === "function" ? token : null;
      this.#token = typeof token === "function" ? null : token;
      this.rooms = new Rooms(this, after);
      this.commands = new Commands(this, inFlight, waiting, messageBytes);
      this.status = { state: "stopped", code: 0, pause: 0, tries: 0 };
      this.dropped = new Map(); // close code -> how often
      this.wake = () => this.#wake();
    }

    // -- what a user does

    start() {
      if (this.#running) return;
      this.#running = true;
      this.commands.ended = this.rooms.ended = null;
      if (globalThis.document) for (const what of ["online", "pageshow", "visibilitychange"]) addEventListener(what, this.wake, true);
      this.#connect();
    }

    stop(reason = new Unanswered("client", "it was stopped", true), code = 0) {
      if (!this.#running) return;
      this.#running = false;
      if (globalThis.document) for (const what of ["online", "pageshow", "visibilitychange"]) removeEventListener(what, this.wake, true);
      this.#drop();
      this.commands.end(reason);
      this.rooms.end(reason);
      this.#tell("stopped", code);
    }

    /** Hear another room, from now on or from after an offset. */
    subscribe(room, after = null) { return this.rooms.subscribe(room, after); }

    unsubscribe(room) { this.rooms.unsubscribe(room); }

    /**
     * Have an operation carried out; its reply. With a `key` (a UUID; operations on money want one) it is carried out once,
     * however often it has to be sent; without one it is sent again only if `repeatable`. Rejects with Refusal, Unanswered, Denied.
     */
    perform(op, data = {}, { key = null, repeatable = false, timeout = 30_000 } = {}) {
      const message = key === null ? { op, data } : { op, data, idempotencyKey: key };
      return this.commands.perform(message, repeatable || key !== null, timeout);
    }

    /** Everything up to here is done with. Said again after a reconnect. */
    ack(offset) {
      if (offset <= this.#acked) return;
      this.#acked = offset;
      this.say({ op: "ack", offset });
    }

    /** Go on with another token of the same person. */
    async renew(token) {
      await this.commands.perform({ op: "auth", token }, true, ANSWER_MS);
      this.#token = token;
    }

    /** What is known up to `offset` comes from elsewhere (a list fetched by REST): older events are of no more use. */
    reached(offset) {
      this.rooms.floor = Math.max(this.rooms.floor ?? offset, offset);
      for (const room of this.rooms.all.values()) if (room.isDefault && room.logged && !room.lost && room.asked === null && !(room.last >= offset)) room.begin(offset);
    }

    get figures() { return { ...this.rooms.figures, commandsRepeated: this.commands.repeated }; }

    // -- for the parts

    get isLive() { return this.#live; }

    now() { return this.timers.now(); }

    /** Milliseconds before a repetition: exponential, capped, and all of it at random (full jitter). */
    pause(tries) { return this.random() * Math.min(this.longestPause, this.firstPause * 2 ** Math.min(tries, 30)); }

    /** What the server asks to be left alone for, and at random as long again: many others were asked the same. */
    #alone(reason) {
      const asked = /\bretry_after=(\d{1,9})\b/.exec(reason);
      return asked ? Math.min(Number(asked[1]) * 1000, RETRY_AFTER_AT_MOST_MS) * (1 + this.random()) : 0;
    }

    /** Whether it could be sent. */
    say(message) {
      if (this.#live) this.#socket.send(JSON.stringify(message));
      return this.#live;
    }

    // -- connections

    async #connect() {
      this.#drop();
      this.#tell("connecting", this.status.code, 0, this.#tries);
      try {
        if (this.#source && !this.#token) this.#token = await this.#source();
      } catch {
        if (this.#running) this.#closed(ABNORMAL);
        return;
      }
      if (!this.#running || this.#socket) return;
      const at = new URL(`/ws/${encodeURIComponent(this.door)}`, this.url);
      at.protocol = at.protocol.replace("http", "ws");
      at.searchParams.set("cafe", this.cafe);
      const after = this.rooms.resumeAfter;
      if (after !== null) at.searchParams.set("after", String(after));
      const socket = new this.WebSocket(at.href, ["tabletap.v1", `bearer.${this.#token}`]);
      Object.assign(socket, { binaryType: "arraybuffer" });
      this.#socket = socket;
      this.#opened = false;
      this.#welcomedAt = null;
      this.#silentAfter = WELCOME_MS;
      this.#watch();
      const ours = (work) => (event) => { if (this.#socket === socket) work(event); };
      socket.onopen = ours(() => { this.#opened = true; });
      socket.onmessage = ours(({ data }) => this.#receive(data));
      socket.onclose = ours(({ code, reason }) => this.#closed(code, reason));
      // A browser tells of the end as well (and is not heard any more); Node 20 does not, where nothing was opened.
      socket.onerror = ours(() => { if (!this.#opened) this.#closed(ABNORMAL); });
    }

    #receive(text) {
      this.#watch();
      try {
        if (typeof text !== "string") return;
        if (text.length > this.maxMessage) throw new Muddled("a message that is too big");
        let message;
        try { message = JSON.parse(text); } catch { throw new Muddled("a message that is none"); }
        this.#take(message);
      } catch (error) {
        if (!(error instanceof Muddled)) throw error;
        this.#closed(ABNORMAL); // what it was nobody knows; it may have been an event
      }
    }

    #take(message) {
      const { type, room, offset, eventId } = message ?? {};
      if (typeof type !== "string" || (offset !== undefined && !Number.isInteger(offset))) throw new Muddled("a message that is none");
      if (!this.#live) {
        if (type === "welcome") this.#welcome(message);
        return;
      }
      switch (type) {
        case "reply": this.commands.heard(message); return;
        case "error": {
          const left = this.commands.heard(message) ? null : this.rooms.refused(message);
          if (left) this.handlers.onLeft?.(left);
          return;
        }
        case "heartbeat": this.rooms.heartbeat(offset); return;
        case "subscribed": this.rooms.subscribed(message); return;
        case "resync":
          if (this.rooms.take(message)) this.handlers.onResync?.({ room, offset, snapshot: message.snapshot });
          return;
        default: // types that are not known and are no events are for newer clients
          if (room && eventId && offset >= 0 && this.rooms.take(message)) this.handlers.onEvent?.(message);
      }
    }

    #welcome(message) {
      this.#live = true;
      this.#welcomedAt = this.now();
      this.#unopened = 0;
      this.#silentAfter = SILENT_BEATS * Math.max(1000, message.heartbeatMs || 0);
      this.timers.clearTimeout(this.#watchdog);
      this.#watchdog = null;
      this.#watch();
      this.rooms.connected(message);
      this.commands.connected();
      if (this.#acked >= 0) this.say({ op: "ack", offset: this.#acked });
      this.#keepTokenFresh();
      this.#tell("live");
      this.handlers.onWelcome?.(message);
    }

    #closed(code, reason = "") {
      const steady = this.#welcomedAt !== null && this.now() - this.#welcomedAt >= STEADY_MS;
      const opened = this.#opened;
      this.#drop(code);
      if (!this.#running) return;
      this.dropped.set(code, (this.dropped.get(code) ?? 0) + 1);
      if (!opened) this.handlers.onUnopened?.(++this.#unopened);
      if (!this.#running) return; // the handler may have stopped us
      if (this.#source && (code === EXPIRED || !opened)) this.#token = null;
      if (FOR_GOOD.has(code) || (code === EXPIRED && !this.#source)) {
        this.stop(new Denied(code), code);
        this.handlers.onDenied?.(code);
        return;
      }
      this.#tries = (steady ? 0 : this.#tries) + (code === TOO_MANY ? 4 : 0);
      const pause = this.#alone(reason) + this.pause(this.#tries++);
      this.#tell("waiting", code, pause, this.#tries);
      this.#timer = this.timers.setTimeout(() => {
        this.#timer = null;
        this.#connect();
      }, pause);
    }

    #drop(code = ABNORMAL) {
      for (const timer of [this.#timer, this.#watchdog, this.#refresh]) this.timers.clearTimeout(timer);
      this.#timer = this.#watchdog = this.#refresh = null;
      const socket = this.#socket;
      this.#socket = null;
      if (socket) socket.close(); // on a dead network that takes minutes: the old socket is left behind at once
      if (!this.#live) return;
      this.#live = false;
      this.rooms.disconnected();
      this.commands.disconnected(code === TOO_BIG);
    }

    /** Something was heard. The timer looks when it is over, so that a message costs no timer. */
    #watch() {
      this.#heardAt = this.now();
      this.#watchdog ??= this.timers.setTimeout(() => this.#look(), this.#silentAfter);
    }

    #look() {
      this.#watchdog = null;
      const left = this.#heardAt + this.#silentAfter - this.now();
      if (left <= 0) this.#closed(ABNORMAL);
      else this.#watchdog = this.timers.setTimeout(() => this.#look(), left);
    }

    /** The network is back, or the page is looked at again: no need to wait. */
    #wake() {
      if (!this.#running || document.visibilityState === "hidden") return;
      const silent = this.now() - this.#heardAt > this.#silentAfter / 2;
      if (this.#socket ? this.#live && silent : this.#timer !== null) this.#connect();
    }

    /** Hand in a new token, in band, a minute before the one in use runs out, or at four fifths of a short life. */
    #keepTokenFresh() {
      const end = this.#source ? expiresAt(this.#token) : null;
      if (end === null) return;
      const left = end - this.now();
      const wait = Math.max(1000, left - Math.min(REFRESH_BEFORE_MS, left / 5));
      if (wait > LONGEST_TIMEOUT_MS) return;
      this.#refresh = this.timers.setTimeout(async () => {
        try { await this.renew(await this.#source()); } catch { /* the server closes with 4001 in the end */ }
        if (this.#live) this.#keepTokenFresh();
      }, wait);
    }

    #tell(state, code = 0, pause = 0, tries = 0) {
      if (state === this.status.state && state !== "waiting") return;
      this.status = { state, code, pause, tries };
      this.handlers.onStatus?.(this.status);
    }
  }

  return { Client, Denied, Refusal, Unanswered };
});
