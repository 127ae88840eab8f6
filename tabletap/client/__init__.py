"""A client of TableTap's sockets, on trio. It knows the wire and nothing of the server's insides.

    from tabletap.client import Client, Event

    async with Client("http://127.0.0.1:9010", door="kitchen", cafe="demo", token=TOKEN) as client:
        async for message in client:
            if isinstance(message, Event) and message.type == "new_order":
                order = message.read()["order"]
                await client.perform("orders.start", {"orderId": order["id"]}, repeatable=True)

Every event is told once and in order, through lost connections and restarting servers; where that cannot be, a
``Resync`` brings a snapshot instead. Reading order: ``client``, ``rooms`` and ``room`` (events), ``commands``,
``socket`` and ``frames`` (the wire).
"""

from .client import Client
from .commands import Limits
from .errors import ClientError, Denied, Refusal, Unanswered
from .line import State, Status
from .pauses import Pauses
from .rooms import Figures
from .server import Server
from .tokens import TokenSource
from .wire import Event, EventType, Fault, Left, Message, Resync

__all__ = [
    "Client",
    "ClientError",
    "Denied",
    "Event",
    "EventType",
    "Fault",
    "Figures",
    "Left",
    "Limits",
    "Message",
    "Pauses",
    "Refusal",
    "Resync",
    "Server",
    "State",
    "Status",
    "TokenSource",
    "Unanswered",
]
