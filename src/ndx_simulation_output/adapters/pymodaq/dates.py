"""When a file and its scans were begun."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from ndx_simulation_output.adapters.pymodaq.attributes import text_of

__all__ = ["start_of", "with_right_date"]

_NAME = "date_time"
_FORM = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{1,2}):(\d{1,2})")


def start_of(found: Mapping[str, Any]) -> datetime | None:
    """Give when a file was begun, in the time zone of this computer: the file says none."""
    try:
        return datetime.fromisoformat(
            f"{text_of(found, 'date')}T{text_of(found, 'time')}"
        ).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def with_right_date(found: Mapping[str, Any], start: datetime | None) -> tuple[dict[str, Any], str]:
    """Give attributes with the right ``date_time``, and what was put right.

    PyMoDAQ writes day / minute / year hour : month : second. Where both could be a month, it is
    the one of ``start``.

    Example
    -------
    >>> with_right_date({"date_time": "20/28/2026 17:11:57"}, None)[0]
    {'date_time': '2026-11-20T17:28:57'}

    """
    made = dict(found)
    text = made.get(_NAME)
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        return made, ""
    day, minute, year, hour, month, second = map(int, form.groups())
    if not 1 <= month <= 12 or (
        start is not None and _is_on(start.date(), year, minute, day) and start.month != month
    ):
        minute, month = month, minute
    try:
        right = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - it has no zone
    except ValueError:
        return made, ""
    made[_NAME] = right.isoformat()
    return made, f"put right: {right.isoformat()}, written {text}, is the date_time"


def _is_on(day: date, year: int, month: int, number: int) -> bool:
    return (day.year, day.month, day.day) == (year, month, number)
