"""Pictures of lifecycles, drawn from their tables: ``python -m tabletap.domain.picture`` writes docs/payments.md."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from .charge import EXPIRES_AFTER
from .payment import PAYMENT_MOVES, REFUND_MOVES
from .vocabulary import MANUAL

State = TypeVar("State", bound=StrEnum)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "payments.md"


def diagram(moves: Mapping[tuple[State, State], str]) -> str:
    """A Mermaid state diagram: the first state of the table is where it begins."""
    first = next(iter(moves))[0]
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {was} --> {to}: {why}" for (was, to), why in moves.items()]
    return "\n".join(("```mermaid", *lines, "```"))


def page() -> str:
    """The whole page."""
    ways = [
        f"| `{method}` | {int(after.total_seconds() // 60)} min | {'staff' if method in MANUAL else 'its provider'} |"
        for method, after in EXPIRES_AFTER.items()
    ]
    return "\n".join(
        (
            "# Payments and refunds",
            "",
            "Drawn from the tables in `tabletap/domain/payment/state.py` by `make docs`; a test compares the two.",
            "What is not drawn is refused by name.",
            "",
            "## A payment",
            "",
            diagram(PAYMENT_MOVES),
            "",
            "## A refund",
            "",
            diagram(REFUND_MOVES),
            "",
            "## Ways of paying",
            "",
            "| way | expires after | who says that the money is here |",
            "|---|---|---|",
            *ways,
            "",
        )
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
