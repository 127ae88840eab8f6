"""Settings: layers, wrong values named, and the secret."""

import stat
import tomllib
from pathlib import Path

import msgspec
import pytest

from tabletap import settings
from tabletap.domain.jobs import POLICIES, QueuePolicy
from tabletap.domain.vocabulary import Queue
from tabletap.settings import SECRET_AT_LEAST, load, secret_of


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of settings of the test's own, with the real defaults in it."""
    (tmp_path / "default.toml").write_bytes((settings.CONFIG / "default.toml").read_bytes())
    monkeypatch.setattr(settings, "CONFIG", tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", sorted(settings.CONFIG.glob("*.toml")), ids=lambda path: path.stem)
def test_every_settings_file_of_the_house_is_right(path):
    load(None if path.stem == "default" else path.stem, {})


def test_a_name_lies_over_the_defaults_and_the_environment_over_both(config):
    (config / "here.toml").write_text('[server]\nport = 1111\nhost = "0.0.0.0"\n[actors]\nidle_seconds = 5\n')
    defaults, named = load(None, {}), load("here", {})
    environed = load("here", {"TABLETAP_PORT": "2222", "DATABASE_URL": "postgres://db/x"})
    told = load("here", {"TABLETAP_PORT": "2222"}, port=3333, host=None)
    assert [loaded.server.port for loaded in (defaults, named, environed, told)] == [9010, 1111, 2222, 3333]
    assert [loaded.server.host for loaded in (defaults, named, environed, told)] == ["127.0.0.1", *["0.0.0.0"] * 3]
    assert (named.actors.idle_seconds, named.actors.ask_timeout_s) == (5.0, defaults.actors.ask_timeout_s)
    assert environed.server.database_url == "postgres://db/x"


def test_the_environment_may_choose_the_name(config):
    (config / "here.toml").write_text("[server]\nport = 1111\n")
    assert load(None, {"TABLETAP_CONFIG": "here"}).server.port == 1111


def test_an_empty_variable_says_nothing():
    assert load(None, {"TABLETAP_PORT": "", "TABLETAP_CONFIG": ""}).server.port == 9010


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ('[server]\nport = "soon"', r"\$\.server\.port"),
        ("[server]\nport = 70000", r"65535.*\$\.server\.port"),
        ("[server]\nhots = 1", r"hots.*\$\.server"),
        ("[actors]\nidle_seconds = []", r"\$\.actors\.idle_seconds"),
        ("[kitchens]\nmany = 1", "kitchens"),
        ("[doors.backdoor]\nmessage_burst = 9", "a door that there is not: backdoor"),
        ("[doors.kitchen]\nbell = 1", r"bell.*\$\.doors"),
        ("[queues.payment-processing]\nattempts = 0", r"\$\.queues"),
        ("[queues.payment-processing]\nworkers = 3", r"workers.*\$\.queues"),
        ("[queues.payments]\nattempts = 3", r"payments.*\$\.queues"),
        ("[queues.order-processing]\nfirst_pause_s = 99", r"first_pause_s must not be longer.*\$\.queues"),
        ("[queues.payment-processing]\ndeadline_s = 20", r"payment-processing\.deadline_s must be longer"),
    ],
)
def test_a_wrong_setting_is_named(config, wrong, named):
    (config / "wrong.toml").write_text(wrong)
    with pytest.raises(msgspec.ValidationError, match=named):
        load("wrong", {})


def test_a_wrong_value_of_the_environment_is_named():
    with pytest.raises(msgspec.ValidationError, match=r"\$\.server\.port"):
        load(None, {"TABLETAP_PORT": "http"})


def test_an_unknown_name_is_no_file():
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load("nowhere", {})


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        load(None, {}).server.port = 1


def test_the_queues_are_set_up_as_the_domain_says_each_setting_of_each_being_listed():
    listed = tomllib.loads((settings.CONFIG / "default.toml").read_text())["queues"]
    assert set(listed) == set(Queue)
    assert all(set(policy) == set(QueuePolicy.__struct_fields__) for policy in listed.values())
    assert load(None, {}).queues == POLICIES


def test_a_name_may_change_one_setting_of_one_queue(config):
    (config / "here.toml").write_text("[queues.webhook-processing]\nattempts = 7\n")
    queues = load("here", {}).queues
    assert queues[Queue.WEBHOOKS] == msgspec.structs.replace(POLICIES[Queue.WEBHOOKS], attempts=7)
    assert queues[Queue.PAYMENTS] == POLICIES[Queue.PAYMENTS]


# -- the secret


def test_a_door_has_limits_of_its_own_and_else_those_of_all(config):
    (config / "own.toml").write_text("[doors.kitchen]\nmessage_burst = 9")
    settings = load("own", {})
    assert settings.sessions_at["kitchen"] == msgspec.structs.replace(settings.sessions, message_burst=9)
    assert settings.sessions_at["customers"].message_burst < settings.sessions.message_burst
    assert "orders" not in settings.sessions_at


def test_a_secret_is_made_once_and_readable_by_its_owner_only(tmp_path):
    loaded = load(None, {"TABLETAP_STATE": str(tmp_path / "state")})
    made = secret_of(loaded)
    path = tmp_path / "state" / "secret"
    assert len(made) >= SECRET_AT_LEAST
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_of(loaded) == path.read_bytes() == made
    assert secret_of(load(None, {"TABLETAP_STATE": str(tmp_path / "other")})) != made


def test_a_configured_secret_is_taken_and_nothing_is_written(tmp_path):
    secret = "s" * SECRET_AT_LEAST
    loaded = load(None, {"TABLETAP_STATE": str(tmp_path / "state"), "TABLETAP_SECRET": secret})
    assert secret_of(loaded) == secret.encode()
    assert not (tmp_path / "state").exists()


def test_a_short_secret_is_refused(tmp_path):
    short = "s" * (SECRET_AT_LEAST - 1)
    with pytest.raises(ValueError, match=f"at least {SECRET_AT_LEAST} characters") as refusal:
        secret_of(load(None, {"TABLETAP_STATE": str(tmp_path), "TABLETAP_SECRET": short}))
    assert short not in str(refusal.value)
