"""Structured logs with one redaction step (spec A4, P10): secrets, codes of gift cards, phone numbers and what looks
like the number of a payment card never reach a line."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tabletap.domain import cardlike, giftcode, phone

HIDDEN = "[hidden]"
_SECRET_KEYS = re.compile(r"token|secret|password|authorization|api_?key|phone|email", re.IGNORECASE)
_TOKENS = re.compile(r"\b(?:trk_[\w-]{8,}|eyJ[\w-]+\.[\w-]+\.[\w-]+)")


def redact(value: Any) -> Any:
    """The value without what must not be written down."""
    if isinstance(value, str):
        return phone.redact(giftcode.redact(cardlike.redact(_TOKENS.sub(HIDDEN, value))))
    if isinstance(value, Mapping):
        return {
            redact(str(key)): HIDDEN if _SECRET_KEYS.search(str(key)) else redact(inner) for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return cardlike.MASK if cardlike.is_number(value) else value
    return redact(str(value))


def _redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    redacted = redact(event)
    assert isinstance(redacted, dict)
    return redacted


def configure(*, as_json: bool, level: int = logging.INFO) -> None:
    """Send structlog's and the standard library's records through the same steps to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact_event, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("trio-websocket", "hypercorn.access", "quart.serving", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
