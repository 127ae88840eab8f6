"""Somebody who asks by REST, again and again at a fixed rate, in a process of their own: how long each answer takes.

``python -m tests.load.probe URL PERIOD_S`` asks until its stdin ends, and says each answer as ``AT TOOK FINE``: the
moment of the question (seconds on the system's steady clock, which all processes share), how long it took, and whether
it was 200. A question is due whether or not the one before it was answered in time: its wait counts.
"""

import subprocess
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import Self
from urllib.parse import urlsplit

import msgspec

TIMEOUT_S = 30.0
PERIOD_S = 0.05


class Answer(msgspec.Struct, frozen=True):
    """``at``: when it was due."""

    at: float
    took_s: float
    fine: bool


class Probe:
    """The process, while the block lasts; ``answers`` afterwards."""

    def __init__(self, url: str) -> None:
        self._command = [sys.executable, "-m", "tests.load.probe", url, str(PERIOD_S)]
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reading.join()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                at, took, fine = line.split()
                self.answers.append(Answer(float(at), float(took), fine == "1"))

    def between(self, began: float, ended: float) -> list[Answer]:
        """What was asked then."""
        return [answer for answer in self.answers if began <= answer.at <= ended]


def main(url: str, period_s: float) -> None:
    ended = threading.Event()

    def await_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=await_end, daemon=True).start()
    parts = urlsplit(url)
    line = HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    due = time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        try:
            line.request("GET", parts.path)
            answer = line.getresponse()
            answer.read()
            fine = answer.status == 200
        except (OSError, HTTPException):
            line.close()  # dialled anew by the next request
            fine = False
        print(due, time.monotonic() - due, int(fine), flush=True)
        due += period_s
        if due < time.monotonic() - 1:
            due = time.monotonic()  # a second behind: what would have been asked meanwhile has waited as well


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
