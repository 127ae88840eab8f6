// The JavaScript client under the shared script: see driver.py, which is the same for the Python client.
// Its timers stand still but for `advance`. One process plays all scenes, one after the other.
const { Client, Denied, Refusal, Unanswered } = require("../../tabletap/http/static/tabletap.js");

const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const EPOCH = 1_700_000_000_000;
const clock = { now: EPOCH, next: 1, timers: new Map() };
const timers = {
  now: () => clock.now,
  setTimeout(work, ms) {
    clock.timers.set(clock.next, { at: clock.now + ms, work });
    return clock.next++;
  },
  clearTimeout: (timer) => clock.timers.delete(timer),
};

function advance({ ms }) {
  const until = clock.now + ms;
  for (;;) {
    const due = [...clock.timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at)[0];
    if (!due) break;
    clock.timers.delete(due[0]);
    clock.now = due[1].at;
    due[1].work();
  }
  clock.now = until;
  tell({ advanced: ms });
}

let client;

const orders = {
  begin({ url, tokens, check_every_ms: checkEvery, random, max_message: maxMessage = 1 << 20, after = null }) {
    const rest = [...tokens];
    client = new Client({
      url, door: "kitchen", cafe: "demo", token: tokens.length > 1 ? async () => rest.shift() : tokens[0],
      checkEvery, random: () => random, timers, maxMessage, after,
      onEvent: ({ room, offset, type, data }) => tell({ event: [room, offset, type, data] }),
      onResync: ({ room, offset, snapshot }) => tell({ resync: [room, offset, snapshot] }),
      onLeft: ({ room, code }) => tell({ left: [room, code] }),
      onStatus: ({ state, code, pause, tries }) => tell({ status: state, code, tries, pauseMs: Math.round(pause) }),
      onDenied: (code) => tell({ denied: code }),
      onUnopened: (count) => tell({ unopened: count }),
    });
    client.start();
  },
  advance,
  perform({ n, op, timeout_ms: timeout, data = {}, key = null, repeatable = false }) {
    client.perform(op, data, { key, repeatable, timeout: timeout ?? Infinity }).then(
      (ok) => tell({ settled: n, ok }),
      (error) => {
        if (error instanceof Refusal) tell({ settled: n, refused: error.code });
        else if (error instanceof Unanswered) tell({ settled: n, unanswered: error.sent });
        else if (error instanceof Denied) tell({ settled: n, denied: error.code });
        else throw error;
      },
    );
  },
  subscribe({ room, after = null }) {
    client.subscribe(room, after).then(() => tell({ subscribed: room }), ({ code }) => tell({ subscribed: room, refused: code }));
  },
  unsubscribe: ({ room }) => client.unsubscribe(room),
  ack: ({ offset }) => client.ack(offset),
  end() {
    client?.stop();
    clock.timers.clear();
    clock.now = EPOCH;
    tell({ ended: true });
  },
  figures() {
    const { repeated, late, resyncs, checks } = client.figures;
    tell({ figures: { repeated, late, resyncs, checks } });
  },
};

require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { do: what, ...more } = JSON.parse(line);
  orders[what](more);
}).on("close", () => process.exit());
