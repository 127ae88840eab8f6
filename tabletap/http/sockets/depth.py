"""How deep a message is nested, told before anything takes it apart."""

import re

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_OPENING = b"[{"


def deeper_than(most: int, message: bytes) -> bool:
    """Whether arrays and objects stand more than ``most`` deep in each other. Of what is no JSON, too."""
    if message.count(b"[") + message.count(b"{") <= most:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", message)):
        depth += 1 if bracket in _OPENING else -1
        if depth > most:
            return True
    return False
