// A broadcast with ws, as its documentation has one. `node ws.js PORT`; on stdin `emit COUNT SIZE`, or `gc`.
"use strict";
const { createInterface } = require("node:readline");
const { WebSocket, WebSocketServer } = require("ws");
const { event } = require("./event.js");

const server = new WebSocketServer({ port: Number(process.argv[2]), host: "127.0.0.1" }, () => console.log("ready"));

function broadcast(data) {
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(data);
  }
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, count, size] = line.split(" ");
  if (word === "gc") return gc();
  for (let made = 0; made < Number(count); made += 1) broadcast(JSON.stringify(event(Number(size))));
});
