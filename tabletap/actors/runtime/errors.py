"""What a sender may be told, named by whose fault it is and whether the message was executed.

====================  =====================================  ==================
error                 meaning                                was it executed?
====================  =====================================  ==================
MailboxFull           the actor is behind: come back later   no
Quarantined           the actor keeps crashing: later        no
NotRunning            the system is not up yet: later        no
Stopping              this process goes away: elsewhere      no
NotExecuted           the deadline passed in the mailbox     no
OutcomeUnknown        taken, and nobody will say more        perhaps
ActorFailed           the actor crashed; see ``__cause__``   not to its end
====================  =====================================  ==================
"""

# ruff: noqa: N818 - named by what happened; senders read `except MailboxFull`

from .address import Address


class ActorError(Exception):
    """The root of what ``tell`` and ``ask`` raise."""

    def __init__(self, address: Address, what: str) -> None:
        super().__init__(f"{address} {what}")
        self.address = address


class RefusedForNow(ActorError):
    """Nothing happened; the same message may be sent again after a while."""

    def __init__(self, address: Address, what: str, retry_after_seconds: float) -> None:
        super().__init__(address, what)
        self.retry_after_seconds = retry_after_seconds


class MailboxFull(RefusedForNow):
    """The mailbox has reached its bound of messages or of bytes."""


class Quarantined(RefusedForNow):
    """The actor crashed too often; its address rests until its cool-off ends."""


class NotRunning(RefusedForNow):
    """The system has not been started."""


class Stopping(ActorError):
    """The system takes no new work."""


class AskTimeout(ActorError):
    """No answer before the deadline; which of the two kinds says whether the actor had taken it."""


class NotExecuted(AskTimeout):
    """The deadline passed while the message waited. It will never be delivered."""


class OutcomeUnknown(AskTimeout):
    """The actor had taken the message; it may or may not have had its effect."""


class ActorFailed(ActorError):
    """The actor crashed on this message, or was quarantined while it waited. ``__cause__`` is the crash."""


class Outage(Exception):
    """Raise a subclass when something outside is down: retried for as long as it lasts, at no one's expense."""
