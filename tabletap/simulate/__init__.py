"""``tabletap simulate``: a running server, driven from another process as a busy cafe would drive it.

Customers place orders over REST at an open rate; kitchen screens see and cook them and a counter takes the money, over
sockets. In the end everything that was acknowledged must have been seen by every screen exactly once, in order, and be
completed and paid. This package is a client: it knows the wire and nothing of the server's insides.

Reading order: ``run`` (the whole), ``customers``, ``kitchen``, ``counter`` (the people), ``book`` and ``report`` (what
happened), ``line`` (sockets), ``rest`` (requests).
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tabletap.client import Denied

from .report import show
from .run import CannotRun, Options, run

EXIT_WELL, EXIT_NOT_WELL, EXIT_CANNOT_RUN = 0, 1, 2


class Cafe(msgspec.Struct, frozen=True):
    slug: str


class Demo(msgspec.Struct, frozen=True):
    """``demo.json``, as far as it is read here."""

    url: str
    cafe: Cafe
    tokens: dict[str, str]


class _Bars:
    """The progress of a run, for people."""

    def __init__(self, bars: Bars, orders: int) -> None:
        self._bars = bars
        self._tasks = [bars.add_task(name, total=orders) for name in ("placed", "on every screen", "served")]

    def tell(self, placed: int, seen: int, served: int) -> None:
        for task, done in zip(self._tasks, (placed, seen, served), strict=True):
            self._bars.update(task, completed=done)


def main(argv: Sequence[str]) -> int:
    """The command line. Returns the exit code: 0 all is well, 1 something was lost or wrong, 2 it could not run."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        options = _options(arguments)
        columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
            report, notes = trio.run(run, options, _Bars(bars, options.orders))
    except BaseException as failure:
        reasons = list(_leaves(failure))
        if not all(isinstance(reason, CannotRun | Denied | KeyboardInterrupt) for reason in reasons):
            raise
        console.print(str(reasons[0]) or "interrupted", style="bold red", markup=False)
        return EXIT_CANNOT_RUN
    show(report, notes, console if arguments.json else Console())
    if arguments.json:
        sys.stdout.write(report.to_json() + "\n")
    return EXIT_WELL if report.well else EXIT_NOT_WELL


def _at_least(least: float, kind: Callable[[str], float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number


def _options(arguments: argparse.Namespace) -> Options:
    """Raises CannotRun if the demo file is missing or holds too little."""
    path: Path = arguments.demo_json
    try:
        demo = msgspec.json.decode(path.read_bytes(), type=Demo)
        kitchen, counter = demo.tokens["kitchen"], demo.tokens["counter"]
    except FileNotFoundError:
        raise CannotRun(f"there is no {path}: start the server with `tabletap demo`, or name its --demo-json") from None
    except (OSError, msgspec.MsgspecError, KeyError) as error:
        raise CannotRun(f"{path} is not a demo file: {error}") from error
    return Options(
        url=arguments.url or demo.url,
        slug=demo.cafe.slug,
        kitchen_token=kitchen,
        counter_token=counter,
        orders=arguments.orders,
        rate=arguments.rate,
        kitchens=arguments.kitchens,
        seed=arguments.seed,
        patience_s=arguments.patience,
    )


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    """What went wrong in each task."""
    if isinstance(failure, BaseExceptionGroup):
        for part in failure.exceptions:
            yield from _leaves(part)
    else:
        yield failure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tabletap simulate", description="Drive a running server as a busy cafe.")
    state = Path(os.environ.get("TABLETAP_STATE") or ".tabletap")
    parser.add_argument(
        "--demo-json", type=Path, default=state / "demo.json", help="URL, cafe and tokens (%(default)s)"
    )
    parser.add_argument("--url", help="another URL than that of the demo file")
    parser.add_argument("--orders", type=_at_least(1, int), default=500, help="how many (%(default)s)")
    parser.add_argument("--rate", type=_at_least(0.1, float), default=50.0, help="orders per second (%(default)s)")
    parser.add_argument("--kitchens", type=_at_least(1, int), default=3, help="kitchen screens (%(default)s)")
    parser.add_argument("--patience", type=_at_least(1, float), default=60.0, help="seconds to the end of it all")
    parser.add_argument("--seed", type=int, default=1, help="of the baskets and pauses (%(default)s)")
    parser.add_argument("--json", action="store_true", help="one line of JSON as the last line of the output")
    return parser
