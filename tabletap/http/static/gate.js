// How somebody of the staff comes in: a token behind the # of the address, or typed in by hand. The tab keeps it until
// it is closed; it never stands in an address that is sent.
import { ApiError, byId, store, tell } from "./common.js";

const AGAIN_MS = 5_000;
const LINK = { connecting: "Connecting…", live: "Live", waiting: "Offline, retrying…", stopped: "Stopped" };

/** `open(token)` opens the screen and throws when it cannot; `close()` ends whatever it began. */
export class Gate {
  constructor(key, open, close) {
    Object.assign(this, { key, open, close });
    this.session = store("session");
    this.token = null;
    byId("gate").addEventListener("submit", (event) => {
      event.preventDefault();
      this.session.set(key, byId("token").value.trim().replace(/^Bearer\s+/i, ""));
      this.begin();
    });
    addEventListener("hashchange", () => this.begin());
  }

  begin() {
    const handed = new URLSearchParams(location.hash.slice(1)).get("token");
    if (handed) {
      this.session.set(this.key, handed);
      history.replaceState(null, "", location.pathname + location.search);
    }
    this.token = this.session.get(this.key);
    if (this.token) this.#enter(this.token);
    else this.ask();
  }

  /** Forgets the token and asks for another, saying why. */
  ask(error = null) {
    this.close();
    this.token = null;
    this.session.set(this.key, null);
    document.body.classList.add("locked");
    byId("gate").hidden = false;
    tell(byId("gate-error"), error);
    byId("token").value = "";
    byId("token").focus();
  }

  async #enter(token) {
    byId("gate").hidden = true;
    document.body.classList.remove("locked");
    this.close();
    try {
      await this.open(token);
      tell(byId("error"), null);
    } catch (error) {
      if (this.token !== token) return;
      if (error instanceof ApiError && error.denied) return this.ask(error);
      tell(byId("error"), error);
      showLink("waiting");
      setTimeout(() => { if (this.token === token) this.#enter(token); }, AGAIN_MS);
    }
  }
}

/** The word on the line to the server, and a mark on the page while there is none. */
export function showLink(name) {
  byId("link").className = `link ${name}`;
  byId("link").textContent = LINK[name];
  document.body.classList.toggle("offline", name === "waiting" || name === "stopped");
}
