"""Settings: ``config/default.toml``, over it ``config/NAME.toml``, over it the environment. Frozen, checked, typed.

Only ``app`` and the command line read them; everything below is handed the part it needs.
"""

import contextlib
import os
import secrets
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec

from tabletap.actors.reconciliation import ReconciliationSettings
from tabletap.domain.jobs import QueuePolicy
from tabletap.domain.vocabulary import Queue
from tabletap.gateways.payconic import PayconicSettings
from tabletap.gateways.stripe import StripeSettings
from tabletap.http.auth import AuthSettings
from tabletap.http.keyring import KeySettings
from tabletap.http.limits import RateLimits
from tabletap.http.listener import ListenerLimits
from tabletap.http.proxies import Proxies
from tabletap.http.rest import RestSettings
from tabletap.http.revoked import RevokedSettings
from tabletap.http.sockets.gate import HandshakeLimits, MessageLimits
from tabletap.http.sockets.table import DOORS
from tabletap.http.sockets.watch import WatchSettings
from tabletap.http.tills import TillSettings
from tabletap.realtime.limits import SessionLimits
from tabletap.realtime.presence import PresenceSettings
from tabletap.realtime.rooms import RoomLimits
from tabletap.realtime.storms import StormLimits
from tabletap.store.embedded import EmbeddedLimits
from tabletap.store.endpoints import EndpointSettings
from tabletap.store.inbox import InboxSettings
from tabletap.store.pool import PoolLimits
from tabletap.store.sweep import Kept

CONFIG = Path(__file__).resolve().parent.parent / "config"
SECRET_AT_LEAST = 32

_FROM_ENVIRONMENT = {
    "TABLETAP_HOST": ("server", "host"),
    "TABLETAP_PORT": ("server", "port"),
    "TABLETAP_PUBLIC_URL": ("server", "public_url"),
    "TABLETAP_STATE": ("server", "state"),
    "TABLETAP_SECRET": ("server", "secret"),
    "DATABASE_URL": ("server", "database_url"),
    "TABLETAP_PAYCONIC_URL": ("payconic", "url"),
    "TABLETAP_PAYCONIC_KEY": ("payconic", "key"),
    "TABLETAP_PAYCONIC_MERCHANT": ("payconic", "merchant_id"),
    "TABLETAP_PAYCONIC_WEBHOOK_SECRET": ("payconic", "webhook_secret"),
    "TABLETAP_PAYCONIC_TIMEOUT_S": ("payconic", "timeout_s"),
    "TABLETAP_STRIPE_URL": ("stripe", "url"),
    "TABLETAP_STRIPE_KEY": ("stripe", "key"),
    "TABLETAP_STRIPE_WEBHOOK_SECRET": ("stripe", "webhook_secret"),
    "TABLETAP_STRIPE_PAGE": ("stripe", "page"),
    "TABLETAP_STRIPE_TIMEOUT_S": ("stripe", "timeout_s"),
    "TABLETAP_STRIPE_TOLERANCE_S": ("stripe", "tolerance_s"),
}


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    public_url: str
    state: str
    database_url: str
    secret: str
    log_json: bool
    stop_within_s: float
    trusted_proxies: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for a proxy that is no network."""
        _ = self.proxies

    @property
    def proxies(self) -> Proxies:
        """Those in front, whose word on a client's address is taken."""
        return Proxies(self.trusted_proxies)


class AuthLifetimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token_lifetime_s: int
    longest_lifetime_s: int
    leeway_s: int
    revoked_per_cafe: int
    revoked_read_every_s: float


class SocketSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    heartbeat_ms: int
    message_depth: int


class DoorLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a door has of its own; what is left out is as ``[sessions]`` says."""

    messages_per_second: float | None = None
    message_burst: int | None = None
    commands_in_flight: int | None = None
    ping_after_seconds: float | None = None
    pong_within_seconds: float | None = None


class ActorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ask_timeout_s: float
    follow_s: float
    queue_tick_s: float
    newborns_kept: int
    active_limit: int
    idle_seconds: float
    mailbox_messages: int
    mailbox_bytes: int


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them. See ``config/default.toml`` for what each means."""

    server: ServerSettings
    auth: AuthLifetimes
    rest: RestSettings
    rates: RateLimits
    listener: ListenerLimits
    sessions: SessionLimits
    rooms: RoomLimits
    storms: StormLimits
    sockets: SocketSettings
    doors: dict[str, DoorLimits]
    handshakes: HandshakeLimits
    messages: MessageLimits
    presence: PresenceSettings
    watch: WatchSettings
    keys: KeySettings
    tills: TillSettings
    actors: ActorSettings
    pool: PoolLimits
    embedded: EmbeddedLimits
    reconciliation: ReconciliationSettings
    payconic: PayconicSettings
    stripe: StripeSettings
    inbox: InboxSettings
    endpoints: EndpointSettings
    queues: dict[Queue, QueuePolicy]

    def __post_init__(self) -> None:
        """Raises ValueError where a job would be given up while its provider may still answer, and for limits of a
        door that there is not."""
        if unknown := self.doors.keys() - DOORS.keys():
            raise ValueError(f"[doors] names a door that there is not: {min(unknown)}")
        patience_s = max(self.payconic.timeout_s, self.stripe.timeout_s)
        for queue in (Queue.PAYMENTS, Queue.WEBHOOKS):
            if self.queues[queue].deadline_s <= patience_s:
                raise ValueError(f"queues.{queue}.deadline_s must be longer than a provider's timeout_s")

    @property
    def sessions_at(self) -> Mapping[str, SessionLimits]:
        """The limits of sessions at doors that have their own."""
        return {
            door: msgspec.structs.replace(self.sessions, **msgspec.to_builtins(own)) for door, own in self.doors.items()
        }

    @property
    def revoked(self) -> RevokedSettings:
        auth = self.auth
        kept_s = auth.longest_lifetime_s + auth.leeway_s
        return RevokedSettings(kept_s=kept_s, per_cafe=auth.revoked_per_cafe, read_every_s=auth.revoked_read_every_s)

    @property
    def kept(self) -> Kept:
        return Kept(timedelta(days=self.keys.revoked_days), timedelta(days=self.tills.lines_days))

    @property
    def state(self) -> Path:
        return Path(self.server.state).resolve()


def load(name: str | None = None, environment: Mapping[str, str] | None = None, **server: Any) -> Settings:
    """Read the settings of ``config/NAME.toml``. ``server``: what the command line says, above all else.

    Raises msgspec.ValidationError, which names the setting, and FileNotFoundError for an unknown name.
    """
    environment = os.environ if environment is None else environment
    merged: dict[str, Any] = tomllib.loads((CONFIG / "default.toml").read_text())
    name = environment.get("TABLETAP_CONFIG") or name
    if name is not None:
        merged = _laid_over(merged, tomllib.loads((CONFIG / f"{name}.toml").read_text()))
    for variable, (section, key) in _FROM_ENVIRONMENT.items():
        if environment.get(variable):
            merged[section][key] = environment[variable]
    merged["server"] |= {key: value for key, value in server.items() if value is not None}
    return msgspec.convert(merged, Settings, strict=False)


def _laid_over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are laid over one another, and so are those in them; anything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        under = below.get(key)
        merged[key] = _laid_over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def auth_of(settings: Settings) -> AuthSettings:
    """How this installation's tokens are made and read."""
    return AuthSettings(
        secret=secret_of(settings),
        token_lifetime_s=settings.auth.token_lifetime_s,
        leeway_s=settings.auth.leeway_s,
        longest_lifetime_s=settings.auth.longest_lifetime_s,
    )


def secret_of(settings: Settings) -> bytes:
    """The configured secret, or the one in the state folder, made at the first start and readable by its owner only."""
    if settings.server.secret:
        if len(settings.server.secret) < SECRET_AT_LEAST:
            raise ValueError(f"TABLETAP_SECRET must have at least {SECRET_AT_LEAST} characters")
        return settings.server.secret.encode()
    path = settings.state / "secret"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, and the first of two processes that start at once wins.
        fresh = path.with_name(f"secret.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(SECRET_AT_LEAST).encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
        return path.read_bytes()
