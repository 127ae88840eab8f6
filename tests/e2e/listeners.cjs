// JavaScript clients of one door, in one process: node listeners.cjs URL DOOR CAFE TOKEN AFTER COUNT
// Tells each event as a line: which client, offset, event id, type, order. Ends with its standard input.
const { Client } = require("../../tabletap/http/static/tabletap.js");
const [url, door, cafe, token, after, count] = process.argv.slice(2);
const tell = (...what) => process.stdout.write(JSON.stringify(what) + "\n");

for (let which = 0; which < Number(count); which++) {
  new Client({
    url, door, cafe, token, after: Number(after), longestPause: 1000,
    onEvent: ({ offset, eventId, type, data }) => tell(which, offset, eventId, type, data.orderId ?? null),
    onResync: ({ offset }) => tell(which, offset, "resync", "resync", null),
  }).start();
}
process.stdin.on("end", () => process.exit()).resume();
