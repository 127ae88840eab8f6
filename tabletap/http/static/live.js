// What a page wants of a socket: events and a word on how the line is. The rest is tabletap.js.
//
//   const live = new Live({ door: "kitchen", cafe: "demo", token, after: 1041, ... });
//   live.start(); live.stop(); live.reached(offset); live.send({ op: "ping", id: "1" });
//
// onEvent(event)     an event not seen before, in order
// onState(name)      "connecting" | "live" | "waiting" | "stopped"
// onWelcome(message) the socket is up; `message.offset` is the server's
// onReload()         state was missed: fetch it again. A page shows more than a room's snapshot has
// onDenied(code)     the server will not have us (expired, forbidden, policy): no more attempts
// onUnopened(count)  an attempt ended before the socket opened; browsers hide why, so ask by REST
import "./tabletap.js";

const { Client } = globalThis.TableTap;

export class Live {
  constructor({ door, cafe, token, after = null, origin = location.origin, onEvent, onState, onWelcome, onReload, onDenied, onUnopened }) {
    this.client = new Client({
      url: origin, door, cafe, token, after, onEvent, onWelcome, onDenied, onUnopened,
      onStatus: ({ state }) => onState?.(state),
      onResync: () => onReload?.(),
    });
  }

  start() { this.client.start(); }

  stop() { this.client.stop(); }

  /** State up to `offset` was fetched by REST: older events are of no more use. */
  reached(offset) { if (typeof offset === "number") this.client.reached(offset); }

  /** Whether it could be sent. */
  send(message) { return this.client.say(message); }
}
