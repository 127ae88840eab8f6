"""Real time: from a committed event to the bytes on every socket that may hear it, and back in after a break.

Who owns what, from the log to the wire:

- ``tickets``: what an order's later events leave unsaid (whose, made where, in the kitchen since when).
- ``audience``: the one table, event -> (room, wire type, payload); ``news`` and ``payloads`` are its words,
  ``catalogue`` its vocabulary.
- ``ring``: a cafe's newest events with their frames; ``frames`` builds those, ``telling`` is what shares them.
- ``hub``: the publisher. It alone broadcasts, and knows which session is where: in a room, or on its way (``seats``).
- ``replay`` and ``defaults``: the way into a room, from an offset or from a door.
- ``flows``: rooms of jobs, which are in no log: told live, and as a whole (``snapshots``) to whoever comes in.
- ``sending``: what else is in no log, said in a room or to the people of a cafe; ``presence``: who is connected.
- ``rooms``: who is in which; ``fanout``: from a room to its members, joined.
- ``session`` and ``stream``: one connection; ``writer``: its only way out, and ``backlog`` what waits there.
- ``slow``: what becomes of a client that does not read, step by step.

What must hold:

1. The offsets of a room strictly grow for each session (of what is in no log they may stand still), and between any two
   nothing of the room is missing; else the session is told so: ``resync`` with a snapshot, or a close that can be
   resumed. Only a client's own seek goes back. (Of a state, a client that is behind may miss what a later one says.)
2. What is broadcast live and what is replayed of the same event is the same.
3. A frame is encoded once per room; nobody who is slow makes anybody wait. Only what is bounded is kept.
4. Nothing here decides who may hear: the door has asked ``domain.access`` before.
"""
