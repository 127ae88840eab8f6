"""The contract of the store, on Postgres."""

from collections.abc import AsyncIterator

import pytest

from tabletap.store.pool import Database
from tests.store.journal_contract import JournalContract, Store
from tests.store.opened import opened


class TestPostgres(JournalContract):
    @pytest.fixture
    async def store(self, migrated: Database) -> AsyncIterator[Store]:
        async with opened(migrated) as store:
            yield store
