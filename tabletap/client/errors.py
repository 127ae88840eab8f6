"""What a client may have to tell its user."""

from .wire import Fault


class ClientError(Exception):
    """The base of all."""


class Denied(ClientError):  # noqa: N818 - named by what is the case
    """The server will not have us, and asking again would not help. ``code``: an HTTP status or a close code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"denied with {code} {reason}".rstrip())
        self.code = code


class Refusal(ClientError):  # noqa: N818 - the same
    """The server said no to a command, for good; nothing was done. ``errors``: what is wrong with which field."""

    def __init__(self, op: str, code: str, message: str, errors: tuple[Fault, ...] = ()) -> None:
        super().__init__(f"{op}: {code} {message}")
        self.op = op
        self.code = code
        self.errors = errors


class Unanswered(ClientError):  # noqa: N818 - the same
    """No answer came. ``sent``: it may have been carried out; else it was not, and never will be."""

    def __init__(self, op: str, why: str, *, sent: bool) -> None:
        super().__init__(f"{op}: {why}, {'nobody knows whether it was done' if sent else 'it was not done'}")
        self.op = op
        self.sent = sent
