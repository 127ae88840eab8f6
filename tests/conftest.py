"""What a whole run of the suite would wait for: compiled code, and the longest files.

Tests start dozens of servers as processes; each would compile the whole package again where Python is told to keep no
bytecode (``PYTHONDONTWRITEBYTECODE``), as it is in many containers. So here, and in all that is started from here, it
keeps it.
"""

import os
import sys

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

LONGEST = (
    "http/test_authorisation.py",
    "http/test_schema.py",
    "e2e/test_crash.py",
    "screens/test_money.py",
    "screens/test_pages.py",
    "gateways/test_contract.py",
    "e2e/test_tills.py",
    "http/test_revocation.py",
    "store/test_reports.py",
    "screens/test_manage.py",
    "realtime/test_truncation.py",
    "realtime/test_conformance.py",
    "store/test_inbox.py",
    "test_cli.py",
    "http/test_rooms_isolation.py",
    "realtime/test_slow.py",
    "http/test_stripe_disputes.py",
    "realtime/test_interleaving.py",
    "e2e/test_resume.py",
)
"""Files of more than twenty seconds, the longest first: begun last, one of them would be what everybody waits for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        for place, name in enumerate(LONGEST):
            if item.path.as_posix().endswith(f"/tests/{name}"):
                return place
        return len(LONGEST)

    items.sort(key=rank)
