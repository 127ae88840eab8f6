// A kitchen room on Socket.IO, as its documentation has one. `node socketio.js PORT`; on stdin `emit COUNT SIZE`, or `gc`.
"use strict";
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { Server } = require("socket.io");
const { event } = require("./event.js");

const server = createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.join("kitchen");
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, count, size] = line.split(" ");
  if (word === "gc") return gc();
  // Of the envelope around it, `42["order_updated",...]`, only the event's name is counted as part of the event.
  for (let made = 0; made < Number(count); made += 1) io.to("kitchen").emit("order_updated", event(Number(size)));
});

server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
