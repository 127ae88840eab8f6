"""The directory of cafes."""

from tabletap.domain.cafe import Cafe
from tabletap.store.batch import upsert

CAFES = upsert("cafes", {"id": "uuid", "slug": "text", "name": "text"})


def row(state: Cafe) -> tuple[object, ...]:
    return (state.id, state.slug, state.settings.name)
