// The orders a screen of the staff knows: a list with the offset it stands for, every event after it, and a question
// to the server wherever an event does not say enough.
import { ApiError, api } from "./common.js";
import { applyEvent, changesSums } from "./orders.js";
import { Live } from "./live.js";

const AGAIN_MS = 3_000;

export class Known {
  /**
   * `screen`: {cafe, door, token, list: () => Promise of {orders, offset}, keeps: (order, was there) => whether it is
   * shown, sums: whether it shows what orders cost, draw(), heard(event) (optional), onState(name), onDenied(error or lines)}
   */
  constructor(screen) {
    this.screen = screen;
    this.orders = new Map();
    this.heardAt = new Map(); // order id -> offset of the last event about it
    this.fetching = new Set();
    this.loading = null;
    this.live = null;
  }

  async open() {
    const after = await this.#load();
    const { cafe, door, token, onState, onDenied } = this.screen;
    this.live = new Live({
      door, cafe, token, after: after ?? null, onState,
      onEvent: (event) => this.#hear(event),
      onReload: () => this.reload(),
      onDenied: (code) => onDenied([code === 4001 ? "Your session has ended. Please sign in again." : "This token may not open this screen."]),
      onUnopened: () => this.reload(), // tells a refused token from a lost network
    });
    this.live.start();
  }

  close() {
    this.live?.stop();
    this.live = null;
  }

  reload() {
    this.loading ??= this.#load().catch((error) => {
      if (error instanceof ApiError && error.denied) this.screen.onDenied(error);
    }).finally(() => { this.loading = null; });
  }

  put(order) {
    if (this.screen.keeps(order, this.orders.has(order.id))) this.orders.set(order.id, order);
    else this.orders.delete(order.id);
  }

  /** Asks for an order until no event came in between: an answer older than an event must not win. */
  async fetchOne(id) {
    if (this.fetching.has(id)) return;
    this.fetching.add(id);
    try {
      let at, order;
      do {
        at = this.heardAt.get(id);
        order = await api(`/api/orders/${id}`, { token: this.screen.token });
      } while (this.heardAt.get(id) !== at);
      this.put(order);
    } catch (error) {
      if (error.status === 404) this.orders.delete(id);
      else if (!error.denied) setTimeout(() => this.reload(), AGAIN_MS);
    } finally {
      this.fetching.delete(id);
      this.screen.draw();
    }
  }

  /** The list, with the offset it stands for: events up to it say nothing new. */
  async #load() {
    const { orders, offset } = await this.screen.list();
    const older = (id) => offset === undefined || !(this.heardAt.get(id) > offset);
    const listed = new Set();
    for (const order of orders) {
      listed.add(order.id);
      if (older(order.id)) this.orders.set(order.id, order);
    }
    for (const [id, order] of this.orders) {
      if (!listed.has(id) && older(id) && order.status !== "cancelled") this.orders.delete(id);
    }
    this.live?.reached(offset);
    this.screen.draw();
    return offset;
  }

  #hear(event) {
    const { type, offset, data = {} } = event;
    for (const change of data.places ?? [data]) {
      const id = change.orderId ?? change.order?.id;
      if (!id) continue;
      this.heardAt.set(id, offset);
      const next = applyEvent(this.orders.get(id), type, change);
      if (next) this.put(next);
      if (!next || (this.screen.sums && changesSums(change))) this.fetchOne(id);
    }
    this.screen.heard?.(event);
    this.screen.draw();
  }
}
