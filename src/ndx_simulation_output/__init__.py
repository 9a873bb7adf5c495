"""Simulated neural activity in NWB: the types of the extension, and converters around them.

The types are registered as soon as this package and pynwb are both imported, in any order. What
does not need pynwb, such as the help of the command line, does not load it.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ndx_simulation_output.api import (
        Converted,
        convert,
        export_annarchy,
        export_sonata,
        open_output,
        plan_layouts,
    )
    from ndx_simulation_output.errors import SimulationOutputError, SimulationOutputWarning
    from ndx_simulation_output.nwb.reader import read_old_namespace
    from ndx_simulation_output.nwb.types import (
        AxesTimeSeries,
        Axis,
        Compartments,
        CompartmentSeries,
        DataToExport,
        DataWithAxes,
        LabeledArray,
        NetworkState,
        PopulationState,
        ProjectionState,
        SimulationMetaData,
        StateTable,
    )
    from ndx_simulation_output.storage.layout import Layout, StorageOptions

__all__ = [
    "AxesTimeSeries",
    "Axis",
    "CompartmentSeries",
    "Compartments",
    "Converted",
    "DataToExport",
    "DataWithAxes",
    "LabeledArray",
    "Layout",
    "NetworkState",
    "PopulationState",
    "ProjectionState",
    "SimulationMetaData",
    "SimulationOutputError",
    "SimulationOutputWarning",
    "StateTable",
    "StorageOptions",
    "convert",
    "export_annarchy",
    "export_sonata",
    "open_output",
    "plan_layouts",
    "read_old_namespace",
]

_TYPES = f"{__name__}.nwb.types"
_MODULES = (f"{__name__}.errors", f"{__name__}.api", _TYPES, f"{__name__}.nwb.reader")
"""Modules with the names of ``__all__``, those that import the least first."""


def __getattr__(name: str) -> Any:
    """Import a public name, or a module of the package, when it is first used."""
    if name in __all__:
        modules = map(import_module, _MODULES)
        found = next(vars(module)[name] for module in modules if name in vars(module))
        globals()[name] = found
        return found
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the names of the package, with those that are not imported yet."""
    return sorted({*globals(), *__all__})


class _TypesAfterPynwb(MetaPathFinder):
    """Finds pynwb as the other finders do, and registers the types once it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of pynwb, None for other modules."""
        if fullname != "pynwb":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_with_types(module: ModuleType) -> None:
                load(module)
                import_module(_TYPES)

            spec.loader.exec_module = load_with_types  # type: ignore[method-assign]
        return spec


if "pynwb" in sys.modules:
    import_module(_TYPES)
else:
    sys.meta_path.insert(0, _TypesAfterPynwb())
