"""The command line: tokens, what it says when something is wrong, and the demo."""

import logging
import stat
from uuid import UUID

import pytest
import structlog

from tabletap import settings
from tabletap.cli import PEOPLE, main
from tabletap.domain.base import Role
from tabletap.http.auth import Authenticator, AuthSettings
from tests.screens.demo import running_demo
from tests.store.conftest import temporary_folder

CAFE = UUID("01990000-0000-7000-8000-000000000001")


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for variable in settings._FROM_ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TABLETAP_STATE", str(tmp_path / "state"))
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def authenticator():
    loaded = settings.load()
    return Authenticator(
        AuthSettings(
            secret=settings.secret_of(loaded),
            token_lifetime_s=loaded.auth.token_lifetime_s,
            leeway_s=loaded.auth.leeway_s,
        )
    )


@pytest.mark.parametrize("role", PEOPLE)
def test_a_token_is_one_that_the_server_takes(capsys, role):
    assert main(["token", "--role", role.value, "--cafe", str(CAFE), "--user", "sam", "--hours", "2"]) == 0
    out, err = capsys.readouterr()
    (token,) = out.splitlines()
    principal = authenticator().principal(token)
    assert (principal.role, principal.user, principal.cafes) == (role, "sam", frozenset({CAFE}))
    assert err == f"id {principal.token_id}\n"


def test_an_admins_token_may_be_for_every_cafe_and_nobody_elses(capsys):
    assert main(["token", "--role", "admin"]) == 0
    assert authenticator().principal(capsys.readouterr().out.strip()).cafes is None
    assert main(["token", "--role", "owner"]) == 1
    assert "--cafe" in capsys.readouterr().err


@pytest.mark.parametrize("role", ["waiter", "system", ""])
def test_an_unknown_role_is_refused(capsys, role):
    with pytest.raises(SystemExit) as refused:
        main(["token", "--role", role, "--cafe", str(CAFE)])
    assert refused.value.code == 2
    assert "--role" in capsys.readouterr().err


def test_the_house_itself_has_no_token():
    assert Role.SYSTEM not in PEOPLE


def test_a_wrong_setting_is_told_in_one_line(capsys, monkeypatch):
    monkeypatch.setenv("TABLETAP_PORT", "http")
    assert main(["token", "--role", "admin"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tabletap: ")
    assert "$.server.port" in line


def test_a_short_secret_is_told_and_not_repeated(capsys, monkeypatch):
    monkeypatch.setenv("TABLETAP_SECRET", "tiny")
    assert main(["token", "--role", "admin"]) == 1
    err = capsys.readouterr().err
    assert "TABLETAP_SECRET" in err
    assert "tiny" not in err


def test_every_command_explains_itself(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for command in ("serve", "demo", "sandbox", "migrate", "rebuild", "token", "simulate"):
        assert command in shown
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0


def test_no_command_is_no_success(capsys):
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2


def test_a_demo_tells_all_one_needs_to_try_it_and_a_second_start_finds_the_data_of_the_first():
    with temporary_folder() as folder:
        state = folder / "state"
        with running_demo(state) as demo:
            told = demo.told
            assert told.keys() == {"url", "cafe", "tokens", "pages", "posApiKey", "sandboxUrl", "tables"}
            assert told["url"] == demo.url
            assert told["cafe"].keys() == {"id", "slug"}
            assert told["tokens"].keys() == {"customer", "staff", "kitchen", "counter", "manager", "owner", "admin"}
            assert told["tables"][0] == {"name": "1", "url": f"{demo.url}/{told['cafe']['slug']}?table=1"}
            assert stat.S_IMODE((state / "demo.json").stat().st_mode) == 0o600
            placed = demo.call(
                "staff", "/api/demo/orders", {"channel": "counter", "items": [{"sku": "latte", "quantity": 1}]}
            )
        assert demo.process.returncode == 0
        with running_demo(state) as again:
            assert again.told["cafe"] == told["cafe"]
            assert again.call("staff", f"/api/orders/{placed['id']}")["number"] == placed["number"]
            again.told["tokens"] = told["tokens"]
            assert again.call("admin", f"/api/orders/{placed['id']}"), "the tokens of the first are still good"


def test_the_inbox_is_listed_and_only_a_dead_webhook_is_replayed(capsys):
    with temporary_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TABLETAP_STATE", str(folder / "state"))
        assert main(["webhooks"]) == 0
        assert main(["webhooks", "--dead"]) == 0
        assert capsys.readouterr().out == ""
        assert main(["webhooks", "--replay", str(CAFE)]) == 1
        assert capsys.readouterr().out == "there is none\n"
