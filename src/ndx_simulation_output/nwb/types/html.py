"""HTML of neurodata types for notebooks that escapes all text of a file; that of hdmf does not."""

import math
from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from hdmf.container import AbstractContainer
from hdmf.data_utils import DataIO

_MAX_ITEMS = 50
_MAX_TEXT = 1000
_MAX_VALUES = 16
_TABLE_ROWS = 4
_STEP = '<div style="margin-left: 20px">'


def add_html(kind: Any) -> None:
    """Add the HTML representation for notebooks to a class that pynwb has generated.

    A subclass can define ``_plots``, whose HTML is shown above the fields.
    """

    def represent(shown: Any) -> str:
        plots = _try(shown._plots) if hasattr(shown, "_plots") else ""  # noqa: SLF001
        return plots + _item(shown.name, shown, set(), is_open=True)

    def represent_field(shown: Any, key: Any, *_: Any) -> str:
        return _item(key, shown, set())

    kind._repr_html_ = represent
    # pynwb calls these for an object in another one, such as an NWBFile.
    kind._generate_field_html = represent_field  # noqa: SLF001
    kind.generate_html_repr = lambda shown, *_, **__: _try(lambda: _container(shown, set()))


def _try(make: Any) -> str:
    """Return HTML, or the error if an object cannot be read."""
    try:
        return str(make())
    except Exception as error:  # noqa: BLE001 - one that is damaged must not hide the others
        return f"<div>cannot be read: {_text(error)}</div>"


def _item(name: Any, value: Any, shown: set[int], *, is_open: bool = False) -> str:
    """Return a line with a name and a text, or an expandable one; a container is expanded once."""
    if isinstance(value, DataIO):
        value = value.data
    title = f"<b>{_text(name)}</b>"
    if isinstance(value, AbstractContainer):
        title += f" ({_text(type(value).__name__)})"
        is_new = id(value) not in shown
        shown.add(id(value))
        inner = _try(lambda: _container(value, shown)) if is_new else ""
    elif hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic):
        return f"<div>{title}: {_try(lambda: _array(value))}</div>"
    elif isinstance(value, Mapping):
        inner = _items(value.items(), len(value), shown)
    elif isinstance(value, (list, tuple)):
        inner = _items(enumerate(value), len(value), shown)
    else:
        return f"<div>{title}: {_text(value)}</div>"
    if not inner:
        return f"<div>{title}</div>"
    opened = ' open=""' if is_open else ""
    return f"<details{opened}><summary>{title}</summary>{_STEP}{inner}</div></details>"


def _items(pairs: Iterable[tuple[Any, Any]], count: int, shown: set[int]) -> str:
    found = "".join(_item(*pair, shown) for pair in islice(pairs, _MAX_ITEMS))
    return found if count <= _MAX_ITEMS else f"{found}<div>and {count - _MAX_ITEMS:,} more</div>"


def _container(value: Any, shown: set[int]) -> str:
    fields = value.fields
    if not isinstance(value, DynamicTable):
        return _items(fields.items(), len(fields), shown)
    of_table = {"id", "columns", "colnames"}
    parts = {name: field for name, field in fields.items() if name not in of_table}
    columns = {name: value[name] for name in islice(value.colnames, _MAX_ITEMS)}
    texts = {name: getattr(one, "target", one).description for name, one in columns.items()}

    def rows() -> str:
        return str(value[: min(_TABLE_ROWS, len(value))].to_html())

    found = _items(parts.items(), len(parts), shown) + _item("columns", texts, shown)
    return f"{found}{_try(rows)}<div>{len(value):,} rows</div>"


def _array(value: Any) -> str:
    """Return shape and type of an array, and its values if they are few."""
    shape = tuple(value.shape)
    values = ""
    if math.prod(shape) <= _MAX_VALUES:
        values = f": {_text(np.asarray(value[()]).tolist())}"
    return f"{_text(' × '.join(map(str, shape)) or 'one value')}, {_text(value.dtype)}{values}"


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return escape(text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…")
