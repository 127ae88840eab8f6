// An order event like those of TableTap: the JSON text of one is SIZE bytes long.
"use strict";

let offset = 1000;

exports.event = function event(size) {
  offset += 1;
  const made = {
    type: "order_updated",
    offset,
    eventId: "evt_01a1fecb93af728ea870f0c3789a3fa5",
    timestamp: Date.now(),
    data: { orderId: "01a1fecb-8a15-7727-aa3e-222d5643e2e8", items: [{ line: 2, status: "held" }], note: "" },
  };
  made.data.note = "x".repeat(Math.max(0, size - JSON.stringify(made).length));
  return made;
};
