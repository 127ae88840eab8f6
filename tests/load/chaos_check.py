"""What the provider says against what the database holds, read past the server."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from .provider_check import compare

UNDER_WAY = "('pending', 'processing')"


class Verdict(msgspec.Struct):
    """All zero is all well, but for what was counted. ``notes``: in words."""

    payments: int = 0
    charged: int = 0
    recorded: int = 0
    mismatches: int = 0
    double_charges: int = 0
    ledger_sum: int = 0
    stuck: int = 0
    dead_letters: int = 0
    forged: int = 0
    rejected: int = 0
    audit_complaints: int = 0
    notes: list[str] = []


def left_over(state: Path) -> int:
    """How much is still under way in the database: payments, refunds, messages and jobs that wait."""
    return asyncio.run(_left_over(state))


async def _left_over(state: Path) -> int:
    connection = await _connect(state)
    try:
        waiting: int = await connection.fetchval(f"""
            SELECT (SELECT count(*) FROM payments WHERE status IN {UNDER_WAY})
                 + (SELECT count(*) FROM refunds WHERE status IN {UNDER_WAY})
                 + (SELECT count(*) FROM outbox WHERE destination IN ('actor', 'payment-processing',
                        'webhook-processing', 'order-processing'))""")
        return waiting
    finally:
        await connection.close()


def judge(state: Path, statement: dict[str, Any]) -> Verdict:
    """Compare the provider's ``statement`` with the database."""
    verdict = asyncio.run(_judge(state, statement))
    audit = subprocess.run(
        [sys.executable, "-m", "tabletap", "audit"],
        env={
            **{name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            "DATABASE_URL": f"postgresql://tabletap@/postgres?host={state / 'run'}",
            "TABLETAP_STATE": str(state),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if audit.returncode != 0:
        verdict.audit_complaints = 1
        verdict.notes.append(f"the audit says: {audit.stdout[-2000:]}{audit.stderr[-1000:]}")
    return verdict


async def _judge(state: Path, statement: dict[str, Any]) -> Verdict:
    connection = await _connect(state)
    verdict = Verdict(forged=statement["forged"])
    try:
        compared = await compare(connection, statement)
        verdict.charged, verdict.recorded = compared.charged, compared.recorded
        verdict.mismatches = compared.mismatches
        verdict.notes += compared.notes
        verdict.payments = await connection.fetchval("SELECT count(*) FROM payments")
        verdict.stuck = await _left_over(state)
        verdict.ledger_sum = await connection.fetchval(
            "SELECT coalesce(abs(sum(amount)), 0)::bigint FROM ledger_entries"
        )
        verdict.double_charges = compared.double_charges + await connection.fetchval("""
            SELECT count(*) FROM (
                SELECT (data->>'order_id')::uuid AS id, sum((data->>'amount')::bigint) AS settled
                FROM events WHERE type = 'order.payment_settled' GROUP BY 1) AS money
            JOIN orders USING (id) WHERE settled > total""")
        verdict.dead_letters = await connection.fetchval(
            "SELECT (SELECT count(*) FROM outbox_dead) + (SELECT count(*) FROM webhook_inbox WHERE status = 'dead')"
        )
        verdict.rejected = await connection.fetchval("SELECT count(*) FROM webhook_rejections")
    finally:
        await connection.close()
    return verdict


async def _connect(state: Path) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(host=str(state / "run"), user="tabletap", database="postgres")
