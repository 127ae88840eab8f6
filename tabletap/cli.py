"""The command line: ``serve``, ``demo``, ``sandbox``, ``migrate``, ``rebuild``, ``audit``, ``dead-letters``,
``webhooks``, ``token``, ``simulate``."""

import argparse
import contextlib
import json
import os
import sys
import tomllib
import urllib.request
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import trio
from uuid_utils.compat import uuid7

from tabletap import auditing, logs, settings
from tabletap.actors.webhook_ports import WebhookStatus
from tabletap.app import Server, open_database, reach_database, run
from tabletap.domain.base import SYSTEM, CafeId, Kind, Ref, Role
from tabletap.domain.cafe import OpenCafe
from tabletap.domain.errors import Refusal
from tabletap.domain.menu import Menu
from tabletap.domain.settings import CafeSettings
from tabletap.domain.till import Scope, digest_of
from tabletap.gateways.sandbox import process as sandbox
from tabletap.gateways.sandbox.doors import Credentials
from tabletap.http.auth import Authenticator
from tabletap.http.operations.cafes import table_url
from tabletap.http.revoked import Revoked
from tabletap.sandboxed import sandboxed
from tabletap.store.embedded import PostgresFailed, StateFolderBusy
from tabletap.store.inbox_table import InboxTable
from tabletap.store.jobs import Jobs
from tabletap.store.migrate import MigrationRefused
from tabletap.store.rebuild import rebuild
from tabletap.store.revocations import RevocationTable

DEMO = settings.CONFIG / "demo"
DEMO_TOKEN_LIFETIME_S = 30 * 24 * 3600
EXPECTED = (StateFolderBusy, PostgresFailed, MigrationRefused, sandbox.SandboxFailed, FileNotFoundError, ValueError)
LISTED_AT_MOST = 500
PEOPLE = [role for role in Role if role not in (Role.SYSTEM, Role.TILL)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["simulate"]:
        from tabletap import simulate

        return simulate.main(arguments[1:])
    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.command(parsed)
    except EXPECTED as error:
        print(f"tabletap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tabletap", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(command=function)
        return added

    for name, function, summary in (
        ("serve", _serve, "serve the cafes of this installation"),
        ("demo", _demo, "open a demo cafe and serve it"),
    ):
        added = command(name, function, summary)
        added.add_argument("--port", type=int, help="0: a free one")
        added.add_argument("--host")
    stand_in = command("sandbox", _sandbox, "play the provider Payconic, without real money")
    stand_in.add_argument("--port", type=int, default=0, help="0: the one it had last time, else a free one")
    stand_in.add_argument("--host", default="127.0.0.1")
    stand_in.add_argument("--state", default=":memory:", metavar="FILE", help="its books; left out: in memory")
    stand_in.add_argument("--key", help="of the merchant; left out, as the others: from the settings")
    stand_in.add_argument("--merchant", help="its id")
    stand_in.add_argument("--webhook-secret", help="signs webhooks")
    stand_in.add_argument("--until-stdin-closes", action="store_true", help="end with who holds its other end")
    command("migrate", _migrate, "bring the database up to date")
    command("rebuild", _rebuild, "build all projections and the ledger again from the log")
    dead = command("dead-letters", _dead_letters, "list jobs and messages that were given up, or try one again")
    dead.add_argument("--replay", type=UUID, metavar="ID", help="put this one back into its queue")
    inbox = command("webhooks", _webhooks, "list what providers have told us, or give a dead one another life")
    inbox.add_argument("--dead", action="store_true", help="only those that were given up")
    inbox.add_argument("--replay", type=UUID, metavar="ID", help="have this one told to its payment again")
    audited = command("audit", _audit, "prove the ledger against log, orders and payments; status 1 where it cannot be")
    audited.add_argument("--cafe", metavar="SLUG", help="this one alone")
    audited.add_argument("--at", metavar="TIME", help="as it was at a past time, like 2026-03-10T12:00:00Z")
    audited.add_argument("--json", action="store_true", help="the whole report, as the last line")
    token = command("token", _token, "issue a person's token (its id goes to stderr), or take one back")
    token.add_argument("--role", choices=[role.value for role in PEOPLE])
    taken_back = token.add_mutually_exclusive_group()
    taken_back.add_argument("--revoke", metavar="ID", help="take this token back, at --cafe or everywhere")
    taken_back.add_argument("--revoke-user", metavar="USER", help="take back all that this person was given until now")
    token.add_argument(
        "--cafe", action="append", default=[], help="id, or slug of a cafe that --url serves; repeatable"
    )
    token.add_argument("--user", default="cli")
    token.add_argument("--hours", type=float, default=12)
    token.add_argument("--url", default="http://127.0.0.1:9010")
    commands.add_parser("simulate", help="play customers, kitchens and a counter against a running server")
    return parser


def _settings(name: str | None = None, **server: Any) -> settings.Settings:
    """As configured; from here on the log goes to stderr, so that stdout holds nothing but what was asked for."""
    loaded = settings.load(name, **server)
    logs.configure(as_json=loaded.server.log_json)
    return loaded


def _serve(parsed: argparse.Namespace) -> int:
    loaded = _settings(host=parsed.host, port=parsed.port)

    async def ready(server: Server) -> None:
        print(f"ready http://{loaded.server.host}:{server.port}", flush=True)

    trio.run(run, loaded, ready)
    return 0


# -- demo


def _demo(parsed: argparse.Namespace) -> int:
    loaded = _settings("demo", host=parsed.host, port=parsed.port)

    async def ready(server: Server) -> None:
        url = f"http://{loaded.server.host}:{server.port}"
        await _write_demo(server, url, await _open_demo(server))
        print(f"ready {url}", flush=True)

    with sandboxed(loaded) as loaded:
        trio.run(run, loaded, ready)
    return 0


async def _open_demo(server: Server) -> CafeId:
    """The demo cafe, opened at the first start."""
    described = tomllib.loads((DEMO / "cafe.toml").read_text())
    slug = described["slug"]
    found = server.directory.by_slug(slug)
    if found is not None:
        return found.id
    cafe_id = CafeId(uuid7())
    command = OpenCafe(
        slug,
        msgspec.convert(described["settings"], CafeSettings),
        msgspec.convert(tomllib.loads((DEMO / "menu.toml").read_text()), Menu),
    )
    opened = await server.desk.ask(Ref(Kind.CAFE, cafe_id, cafe_id), command, SYSTEM)
    if isinstance(opened, Refusal):
        raise RuntimeError(f"config/demo cannot be opened: {opened.message}")  # noqa: TRY004  the rules refused it
    await server.directory.refresh()
    return cafe_id


async def _write_demo(server: Server, url: str, cafe_id: CafeId) -> None:
    """What somebody needs to try the demo, readable by its owner only (it holds tokens)."""
    entry = server.directory.by_id(cafe_id)
    assert entry is not None
    cafe = frozenset({cafe_id})
    tables = tomllib.loads((DEMO / "cafe.toml").read_text())["settings"]["tables"]
    tokens = {
        role.value: server.auth.issue(
            user=f"demo-{role.value}",
            role=role,
            cafes=None if role is Role.ADMIN else cafe,
            token_id=uuid7(),
            lifetime_s=DEMO_TOKEN_LIFETIME_S,
        )
        for role in PEOPLE
    }
    told = {
        "url": url,
        "cafe": {"id": str(cafe_id), "slug": entry.slug},
        "tokens": tokens,
        "pages": {
            "menu": f"{url}/{entry.slug}",
            "menuSignedIn": f"{url}/{entry.slug}#token={tokens['customer']}",
            "kitchen": f"{url}/{entry.slug}/kitchen#token={tokens['kitchen']}",
            "counter": f"{url}/{entry.slug}/counter#token={tokens['counter']}",
            "manage": f"{url}/{entry.slug}/manage#token={tokens['manager']}",
        },
        "posApiKey": await _demo_key(server, cafe_id),
        "sandboxUrl": server.settings.payconic.url,
        "tables": [{"name": name, "url": table_url(url, entry.slug, name)} for name in tables],
    }
    path = server.settings.state / "demo.json"
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(told, file, indent=2)
    fresh.replace(path)


async def _demo_key(server: Server, cafe_id: CafeId) -> str:
    """The demo's till keeps its key as long as it is good, and is given another when it is not: demo.json is the one
    place where it is written down."""
    told = server.settings.state / "demo.json"
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        key = str(json.loads(told.read_text())["posApiKey"])
        if any(
            digest_of(key) == one.digest and one.revoked_at is None
            for one in await server.entrance.keyring.of_cafe(cafe_id)
        ):
            return key
    made = await server.entrance.keyring.make(cafe_id, f"Demo till {uuid7().hex[-6:]}", frozenset(Scope), "demo")
    if isinstance(made, Refusal):
        raise RuntimeError(f"the demo's till gets no key: {made.message}")  # noqa: TRY004  the rules refused it
    return made[1]


# -- the rest


def _sandbox(parsed: argparse.Namespace) -> int:
    loaded = _settings()
    credentials = Credentials(
        key=parsed.key or loaded.payconic.key,
        merchant_id=parsed.merchant or loaded.payconic.merchant_id,
        webhook_secret=parsed.webhook_secret or loaded.payconic.webhook_secret,
    )
    if not all(msgspec.structs.astuple(credentials)):
        raise ValueError("the sandbox needs --key, --merchant and --webhook-secret, or TABLETAP_PAYCONIC_...")
    serve = partial(
        sandbox.run,
        credentials,
        host=parsed.host,
        port=parsed.port,
        state=parsed.state,
        until_stdin_closes=parsed.until_stdin_closes,
        ready=lambda url: print(f"ready {url}", flush=True),
    )
    trio.run(serve)
    return 0


def _migrate(_: argparse.Namespace) -> int:
    async def work() -> None:
        async with open_database(_settings()):
            print("the database is up to date")

    trio.run(work)
    return 0


def _rebuild(_: argparse.Namespace) -> int:
    async def work() -> None:
        async with open_database(_settings()) as database:
            for table, rows in (await rebuild(database)).items():
                print(f"{table}: {rows} rows")

    trio.run(work)
    return 0


def _audit(parsed: argparse.Namespace) -> int:
    at = msgspec.convert(parsed.at, datetime) if parsed.at else None
    if at is not None and at.tzinfo is None:
        raise ValueError("--at needs its offset from UTC, like 2026-03-10T12:00:00Z")
    return trio.run(auditing.run, _settings(), parsed.cafe, at, parsed.json)


def _dead_letters(parsed: argparse.Namespace) -> int:
    async def work() -> int:
        async with open_database(_settings()) as database:
            jobs = Jobs(database)
            if parsed.replay is not None:
                risen = await jobs.replay(parsed.replay)
                print("it is in its queue again" if risen else "there is no such dead letter")
                return 0 if risen else 1
            for one in await jobs.dead_letters(limit=LISTED_AT_MOST):
                print(f"{one.id} {one.died_at:%Y-%m-%d %H:%M} {one.queue} {one.what} {one.attempts}x {one.reason}")
        return 0

    return trio.run(work)


def _webhooks(parsed: argparse.Namespace) -> int:
    async def work() -> int:
        loaded = _settings()
        async with open_database(loaded) as database:
            inbox = InboxTable(database, loaded.inbox.gap_s, wake=lambda: None)  # a running server finds the job itself
            if parsed.replay is not None:
                found = await inbox.replay(parsed.replay, None)
                risen = found is not None and found.status is WebhookStatus.PENDING
                print("it is in its queue again" if risen else f"it is {found.status}" if found else "there is none")
                return 0 if risen else 1
            for one in await inbox.listed(WebhookStatus.DEAD if parsed.dead else None, None, None, LISTED_AT_MOST):
                print(
                    f"{one.webhook_id} {one.received_at:%Y-%m-%d %H:%M} {one.provider} {one.type} {one.status} "
                    f"{one.attempts}x {one.last_error or ''}".rstrip()
                )
        return 0

    return trio.run(work)


def _token(parsed: argparse.Namespace) -> int:
    loaded = _settings()
    cafes = frozenset(_cafe_id(named, parsed.url) for named in parsed.cafe) or None
    if parsed.revoke or parsed.revoke_user:
        return trio.run(_revoke, loaded, cafes or (None,), parsed.revoke, parsed.revoke_user)
    if parsed.role is None:
        raise ValueError("say in which --role, or what to --revoke")
    role, token_id = Role(parsed.role), uuid7()
    if cafes is None and role is not Role.ADMIN:
        raise ValueError("say for which --cafe")
    auth = Authenticator(settings.auth_of(loaded))
    token = auth.issue(user=parsed.user, role=role, cafes=cafes, token_id=token_id, lifetime_s=int(parsed.hours * 3600))
    print(token)
    print(f"id {token_id}", file=sys.stderr)
    return 0


async def _revoke(
    loaded: settings.Settings, cafes: Collection[CafeId | None], token_id: str | None, user: str | None
) -> int:
    """Written down for good; a running server reads it by itself."""
    async with reach_database(loaded) as database:
        revoked = Revoked(RevocationTable(database), loaded.revoked, lambda: datetime.now(UTC))
        made = await revoked.revoke(cafes, token_id=token_id, user=user, by=SYSTEM)
    if isinstance(made, Refusal):
        raise ValueError(made.message)  # noqa: TRY004  the rules refused it
    print(f"revoked {token_id or user}")
    return 0


def _cafe_id(named: str, url: str) -> CafeId:
    try:
        return CafeId(UUID(named))
    except ValueError:
        with urllib.request.urlopen(f"{url}/api/{named}/menu", timeout=10) as answer:  # noqa: S310  the operator's own
            return CafeId(UUID(json.load(answer)["cafeId"]))
