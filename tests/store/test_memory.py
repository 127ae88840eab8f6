import pytest

from tabletap.actors.ports import Conflict
from tabletap.actors.runtime import Outage
from tests.domain.world import NOON
from tests.store.journal_contract import JournalContract, Store, availability
from tests.store.memory import MemoryStore
from tests.store.shop import Shop, Tape


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore(Tape(), now=lambda: NOON)


def as_store(memory: MemoryStore) -> Store:
    async def waiting() -> set:  # type: ignore[type-arg]
        return set(memory.outbox)

    assert isinstance(memory.publisher, Tape)
    return Store(memory, memory, memory, memory.publisher, waiting)


class TestMemory(JournalContract):
    @pytest.fixture
    def store(self, memory: MemoryStore) -> Store:
        return as_store(memory)


async def test_faults_come_when_ordered_and_once(memory: MemoryStore) -> None:
    shop = Shop()
    await as_store(memory).write(shop)
    cafe_id = shop.cafe_ref.cafe_id
    memory.fail_before = True
    with pytest.raises(Outage):
        await memory.commit(availability(shop, 2))
    assert await memory.head(cafe_id) == 1
    memory.fail_after = True
    with pytest.raises(Outage):
        await memory.commit(availability(shop, 2))
    assert await memory.head(cafe_id) == 2
    memory.conflict_next = True
    with pytest.raises(Conflict):
        await memory.commit(availability(shop, 3))
    with memory.outage(), pytest.raises(Outage):
        await memory.load(shop.cafe_ref)
    await memory.commit(availability(shop, 3))
    assert await memory.head(cafe_id) == 3
