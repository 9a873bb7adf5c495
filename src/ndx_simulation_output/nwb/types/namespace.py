"""The namespace, loaded from the YAML under ``spec/``, and the classes generated from it."""

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from hdmf.build import GroupBuilder
from hdmf.common.io.table import DynamicTableMap
from hdmf.utils import AllowPositional, docval, get_docval
from pynwb import get_class, load_namespaces, register_class, register_map

from ndx_simulation_output.nwb.types.html import add_html

NAMESPACE = "ndx-simulation-output"


def _spec_file() -> Path:
    name = f"{NAMESPACE}.namespace.yaml"
    packaged = Path(str(resources.files("ndx_simulation_output"))) / "spec" / name
    # In an editable install the YAML stays at the root of the checkout.
    return packaged if packaged.exists() else Path(__file__).parents[4] / "spec" / name


load_namespaces(str(_spec_file()))


def generated_class(name: str) -> Any:
    """Return the class that pynwb generates for a type; export only a registered subclass of it.

    Once a subclass is registered, instances of the generated class are written with the type of
    their base in the core schema, and validation does not report it.
    """
    generated = get_class(name, NAMESPACE)
    add_html(generated)
    return generated


_MOST_GROWING_BYTES = 2**20


class _TableMap(DynamicTableMap):  # type: ignore[misc]
    """Writes large columns contiguous, which is several times as fast as columns that can grow.

    hdmf makes all columns of tables chunked, so that rows can be added to the file. Small columns
    and those with an ``H5DataIO`` of their own stay as they are.
    """

    def build(self, *args: Any, **kwargs: Any) -> GroupBuilder:
        """Return the builder of a table and its columns."""
        builder: GroupBuilder = super().build(*args, **kwargs)
        for column in builder.datasets.values():
            values = column.data
            if isinstance(values, np.ndarray) and values.nbytes > _MOST_GROWING_BYTES:
                # Not an H5DataIO, which other backends than HDF5 do not know.
                column._DatasetBuilder__matched_spec_shape = None  # noqa: SLF001
        return builder


def register_table(name: str) -> Callable[[Any], Any]:
    """Return a decorator that registers the class of a type of tables, as ``register_class``."""

    def register(kind: Any) -> Any:
        register_class(name, NAMESPACE, kind)
        register_map(kind, _TableMap)
        return kind

    return register


def constructor(
    generated: Any,
    defaults: Mapping[str, Any] | None = None,
    types: Mapping[str, Any] | None = None,
    first: str | None = None,
) -> Any:
    """Return a decorator that declares the arguments of the constructor of a generated class.

    ``defaults`` replace those of the specification, and ``types`` are accepted in addition. All
    arguments may be positional, ``first`` before the others. ``name`` is accepted for types with a
    fixed name too.
    """
    defaults, types = defaults or {}, types or {}
    arguments = [dict(argument) for argument in get_docval(generated.__init__)]
    if "name" in defaults and all(argument["name"] != "name" for argument in arguments):
        arguments.append({"name": "name", "type": str, "doc": "fixed by the specification"})
    for argument in arguments:
        name, known = argument["name"], argument["type"]
        if name in defaults:
            argument["default"] = defaults[name]
        if name in types:
            known = known if isinstance(known, (tuple, list)) else (known,)
            argument["type"] = (*known, types[name])
    arguments.sort(key=lambda argument: ("default" in argument, argument["name"] != first))
    return docval(*arguments, allow_positional=AllowPositional.ALLOWED)
