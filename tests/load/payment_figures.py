"""What the bench of payments tells, and the webhook it sends."""

import msgspec

from tabletap.simulate.report import Latency


class Phase(msgspec.Struct, rename="camel"):
    """One way of paying. ``per_second``: completed ones, from the first request to the last completion; CPU in
    milliseconds, and calls of the database, per payment."""

    payments: int
    completed: int
    per_second: float
    to_completed: Latency
    steps: dict[str, Latency]
    health: Latency
    server_cpu_ms: float
    postgres_cpu_ms: float
    sandbox_cpu_ms: float
    database_calls: float


class Result(msgspec.Struct, rename="camel"):
    """All of it, as printed. ``crowd_to_cash``: server CPU per payment of the one against the other.

    ``webhook_median_ms``: of the steady phase. Where so many wait at once, as in the others, the answer takes as long
    as all of them take, whatever the server does.
    """

    steady_rate_per_second: float
    at_once: int
    orders_per_second: float
    idle_health: Latency
    steady: Phase
    crowd: Phase
    cash: Phase
    storm: Phase
    crowd_to_cash: float
    webhook_median_ms: float
    incomplete: int
    repeated: int
    seconds: float

    @property
    def well(self) -> bool:
        return self.incomplete == 0


class Begun(msgspec.Struct, rename="camel"):
    """A payment that the server has begun."""

    payment_id: str
    total_amount: int


def succeeded(begun: Begun, ident: str) -> bytes:
    """The provider's webhook, as its sandbox writes it."""
    payment = {
        "id": ident,
        "merchantReference": begun.payment_id,
        "status": "SUCCEEDED",
        "amount": begun.total_amount,
        "currency": "AUD",
        "method": "card",
        "capturedAmount": begun.total_amount,
        "refundedAmount": 0,
        "fee": 0,
        "failureReason": None,
        "sequence": 1,
        "_links": {"refund": {"href": f"http://127.0.0.1/v1/payments/{ident}/refunds"}},
    }
    told = {"id": f"evt_{ident}", "eventType": "payment.succeeded", "sequence": 1, "data": {"payment": payment}}
    return msgspec.json.encode(told)
