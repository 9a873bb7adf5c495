"""Fields of frozen dataclasses, checked and set while one is created."""

from collections.abc import Mapping
from typing import Any

from ndx_simulation_output.errors import WrongTypeError

Provenance = Mapping[str, Any]
"""JSON values of a source that no field has, used to export to the format of the source."""


def set_fields(item: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is created."""
    for name, value in values.items():
        object.__setattr__(item, name, value)


def check_instances(where: str, kind: type, **values: Any) -> None:
    """Raise WrongTypeError if a value is neither None nor of this type."""
    for name, value in values.items():
        if value is not None and not isinstance(value, kind):
            msg = f"{name} of {where} is {value!r:.60}; expected {kind.__name__}"
            raise WrongTypeError(msg)


def tuple_of(items: Any, kind: type, what: str) -> tuple[Any, ...]:
    """Return a list or tuple as a tuple; raise WrongTypeError if an item is of another type."""
    is_listed = isinstance(items, list | tuple)
    if not is_listed or not all(isinstance(item, kind) for item in items):
        msg = f"{what} are {items!r:.60}; expected a tuple of {kind.__name__}"
        raise WrongTypeError(msg)
    return tuple(items)


def provenance_of_some(provenance: Provenance) -> Provenance:
    """Return a provenance for some cells: without the values that list all cells or spikes."""
    return {key: value for key, value in provenance.items() if key not in _OF_ALL_CELLS}


_OF_ALL_CELLS = {"entries", "repeated_ids", "not_finite"}
