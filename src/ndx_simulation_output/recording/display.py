"""How parts of a recording are shown at a prompt and in a notebook; no data are read for a text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ndx_simulation_output.recording.units import Unit, time_scale, unit_label

_MAX_CHARACTERS = 60
_MAX_NAMES = 6
_MAX_ITEMS = 4

Facts = Iterator[str]
"""The name of a part of a recording, empty if it has none, and what is in it."""


def html_summary(shown: object, name: str = "") -> str:
    """Return an HTML summary of an object, titled ``name``.

    Summaries are made by ``plots``, which depends on this module and is imported by the first one.
    """
    plots = import_module("ndx_simulation_output.plots.notebook")
    summary: str = plots.summarize(shown, name)
    return summary


def represent(shown: Any) -> str:
    """Return one line with the type of an object, its name and its facts, for ``__repr__``.

    Example
    -------
    >>> from ndx_simulation_output.recording import CellTable
    >>> CellTable("exc", [3, 7], {"layer": [2, 4]})
    <CellTable exc: 2 cells, properties layer>

    """
    name, facts = name_and_facts(shown)
    return f"<{' '.join(filter(None, [type(shown).__name__, name]))}: {facts}>"


def name_and_facts(shown: Any) -> tuple[str, str]:
    """Return the name of a part of a recording, and what is in it."""
    if isinstance(shown, tuple):
        return shown
    name, *facts = shown._facts()  # noqa: SLF001 - the protocol of this module
    return one_line(name), ", ".join(one_line(fact, 3 * _MAX_CHARACTERS) for fact in facts if fact)


def one_line(text: str, most: int = _MAX_CHARACTERS) -> str:
    r"""Return a text of a file as one printable line; one that is too long ends in an ellipsis.

    Example
    -------
    >>> one_line("two\nlines"), one_line("a long name", 6)
    ('two lines', 'a long…')

    """
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 10 * most])
    line = " ".join(printable.split())
    is_whole = len(line) <= most and len(text) <= 10 * most
    return line if is_whole else f"{line[:most]}…"


def counted(number: int, what: str) -> str:
    """Return a number of things, such as ``1,000 cells`` or ``1 cell``."""
    return f"{number:,} {what.removesuffix('s') if number == 1 else what}"


def listed(names: Iterable[str], what: str = "") -> str:
    """Return names after the word for them, at most six and the number of others."""
    every = list(names)
    shown = [one_line(name, 20) for name in every[:_MAX_NAMES]]
    shown += [f"… {len(every) - _MAX_NAMES:,} more"] * (len(every) > _MAX_NAMES)
    return f"{what} {', '.join(shown)}".strip() if shown else ""


def quantity_text(name: str | None, unit: Unit) -> str:
    """Return a variable and its unit, such as ``v (mV)``."""
    symbol = unit_label(unit) if unit.known else "unit unknown"
    return f"{name} ({symbol})" if name and symbol else name or symbol


def span_text(first: float, last: float) -> str:
    """Return a span of times (s), such as ``0 to 100 ms``."""
    scale = time_scale(last - first)
    if first == last:
        return f"at {first * scale.factor:.4g} {scale.symbol}"
    return f"{first * scale.factor:.4g} to {last * scale.factor:.4g} {scale.symbol}"


def section_lines(sections: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Yield lines with the items of each section, of a long one the first three.

    An item is a part of a recording, or its name and a text.
    """
    shown = {title: _first_items(items) for title, items in sections.items()}
    width = max(map(len, shown), default=0) + 2
    indent = max((len(name) for items in shown.values() for name, _ in items), default=0) + 2
    for title, items in shown.items():
        lines = [f"{name:<{indent}}{text}".rstrip() if name else text for name, text in items]
        if len(items) < len(sections[title]):
            lines.append(f"… {len(sections[title]) - len(items):,} more")
        for number, line in enumerate(lines):
            yield f"{'' if number else f'{title}:':<{width}}{line}"


def _first_items(items: Sequence[Any]) -> list[tuple[str, str]]:
    count = len(items) if len(items) <= _MAX_ITEMS else _MAX_ITEMS - 1
    return [name_and_facts(item) for item in items[:count]]


def times_text(times: Any) -> str:
    """Return the span of the times of a recording; those in a file are not read."""
    if hasattr(times, "rate"):
        end = times.start + times.count / times.rate
        return span_text(times.start, end) if times.count else ""
    is_known = isinstance(times.values, np.ndarray) and times.count
    return span_text(float(times.values[0]), float(times.values[-1])) if is_known else ""


def shape_text(shape: Iterable[int]) -> str:
    """Return the lengths of dimensions, such as ``1,000 × 3``."""
    return " × ".join(f"{length:,}" for length in shape) or "1"
