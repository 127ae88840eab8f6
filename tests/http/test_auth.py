"""Tokens that were read before are not read again, and are good for no longer than others."""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest

from tabletap.domain.access import Principal
from tabletap.domain.base import CafeId, Role
from tabletap.domain.errors import Code, Refusal
from tabletap.http import auth as module
from tabletap.http.auth import Authenticator, AuthSettings

CAFE = CafeId(uuid4())
REVOKED = Refusal(Code.INVALID_TOKEN, "the token was revoked")


def authenticator() -> Authenticator:
    return Authenticator(AuthSettings(secret=b"s" * 32, token_lifetime_s=60, leeway_s=0))


def token_of(auth: Authenticator, user: str = "u1", lifetime_s: int | None = None) -> str:
    return auth.issue(user=user, role=Role.STAFF, cafes=frozenset({CAFE}), token_id=uuid4(), lifetime_s=lifetime_s)


def test_a_token_says_the_same_again_without_being_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = authenticator()
    token = token_of(auth)
    first = auth.principal(token)
    monkeypatch.setattr(jwt, "decode", None)
    assert isinstance(first, Principal)
    assert auth.principal(token) == first


def test_a_token_that_was_read_before_runs_out_like_any_other() -> None:
    auth = authenticator()
    token = token_of(auth, lifetime_s=1)
    read = auth.principal(token)
    assert isinstance(read, Principal)
    assert read.expires_at is not None
    time.sleep(max(0.0, (read.expires_at - datetime.now(UTC) + timedelta(milliseconds=1)).total_seconds()))
    refused = auth.principal(token)
    assert isinstance(refused, Refusal)
    assert refused.code is Code.TOKEN_EXPIRED


def test_a_token_that_was_read_before_is_judged_each_time() -> None:
    auth = authenticator()
    token = token_of(auth)
    assert isinstance(auth.principal(token), Principal)
    auth.judge = lambda principal: REVOKED
    assert auth.principal(token) is REVOKED


def test_a_token_with_one_sign_changed_is_not_the_one_that_was_read() -> None:
    auth = authenticator()
    token = token_of(auth)
    assert isinstance(auth.principal(token), Principal)
    head, claims, mac = token.split(".")
    for forged in (f"{head}.{claims}.{mac[:-3]}AAA", f"{head}.{claims[:-1]}A.{mac}", token[:-1], token + "\udcff"):
        assert isinstance(auth.principal(forged), Refusal)


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_AT_MOST", 2)
    auth = authenticator()
    tokens = [token_of(auth, f"u{number}") for number in range(4)]
    for token in tokens * 2:
        assert isinstance(auth.principal(token), Principal)
    assert len(auth._read) == 2
