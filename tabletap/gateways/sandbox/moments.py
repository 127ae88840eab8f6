"""Moments as the file keeps them: microseconds since 1970."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def stored(moment: datetime) -> int:
    """As the file keeps it."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """As everybody else knows it."""
    return _EPOCH + at * _MICROSECOND
