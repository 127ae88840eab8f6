"""The socket doors: who may enter, which rooms they hear, and what they may say.

``table`` says which doors there are; ``admission`` looks at who knocks, ``gate`` at how often, ``watch`` for what is
odd. ``doors`` welcomes and closes; ``commands`` answers messages; ``stream`` is the connection as the listener hands it
over. Frames, rooms, recovery and presence are ``realtime``'s, operations are ``http.operations``'.
"""
