"""What the provider says it has charged and given back against what the database holds, payment by payment."""

from typing import Any

import asyncpg
import msgspec

METHODS = "payconic%"


class Compared(msgspec.Struct):
    """Cents; ``mismatches``: payments of which the two say different things; ``double_charges``: charged twice."""

    charged: int = 0
    recorded: int = 0
    mismatches: int = 0
    double_charges: int = 0
    notes: list[str] = []


async def compare(connection: "asyncpg.Connection[Any]", statement: dict[str, Any]) -> Compared:
    """``statement``: as the sandbox's control gives it."""
    found = Compared()
    ours = {
        str(row["id"]): row
        for row in await connection.fetch(
            """SELECT payments.id, status, coalesce((doc->>'received')::bigint, 0) AS received,
                      coalesce((SELECT sum(amount)::bigint FROM refunds WHERE payment_id = payments.id
                                AND status = 'completed' AND "to" = 'original'), 0) AS refunded
               FROM payments WHERE method LIKE $1""",
            METHODS,
        )
    }
    theirs: dict[str, dict[str, Any]] = {}
    for charge in statement["payments"]:
        if charge["merchantReference"] in theirs:
            found.double_charges += 1
        theirs[charge["merchantReference"]] = charge
    for ident in ours.keys() | theirs.keys():
        here, there = ours.get(ident), theirs.get(ident, {"captured": 0, "refunded": 0, "status": "none"})
        told = (there["captured"], there["refunded"])
        kept = (here["received"], here["refunded"]) if here else (0, 0)
        found.charged += told[0]
        found.recorded += kept[0]
        if told != kept:
            found.mismatches += 1
            found.notes.append(
                f"{ident}: the provider says {told} ({there['status']}), we say {kept} ({here and here['status']})"
            )
    return found
