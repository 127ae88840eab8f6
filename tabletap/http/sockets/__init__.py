"""The socket doors: who may enter, which rooms they hear, and what they may say.

``doors.py`` admits and welcomes; ``commands.py`` answers messages; ``stream.py`` is the connection as the
listener hands it over. Frames, rooms and recovery are ``realtime``'s, operations are ``http.operations``'.
"""
