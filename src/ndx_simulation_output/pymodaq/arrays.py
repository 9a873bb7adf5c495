"""Arrays that are added by name, type and attributes, as PyMoDAQ's file object takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.pymodaq.axes import Axis
from ndx_simulation_output.recording import ExportArray, ExportAxis
from ndx_simulation_output.recording.json_values import to_json

if TYPE_CHECKING:
    from ndx_simulation_output.nwb.exports import HowStored

__all__ = ["ROLES", "ArrayToAdd"]

ROLES = {
    "data": "data",
    "data_enlargeable": "data",
    "bkg": "background",
    "error": "error",
    "strings": "log",
}
"""What arrays of PyMoDAQ's types are for; those of other types keep the name of theirs."""

_TOLD = {"label", "source", "distribution", "origin", "timestamp"}
_FIELDS = {*_TOLD, "units", "nav_indexes"}
_AXIS = {"label", "units", "index", "spread_order"}


@dataclass(frozen=True)
class ArrayToAdd:
    """An array of given values, or of a shape and type; ``scan`` are dimensions before its own."""

    values: NDArray[Any] | None
    shape: tuple[int, ...] | None
    dtype: Any
    fill: Any
    scan: tuple[int, ...]
    grows: bool

    def create(
        self,
        group: h5py.Group,
        name: str,
        kind: str,
        title: str,
        metadata: Mapping[str, Any],
        how: "HowStored",
    ) -> h5py.Dataset:
        """Add it to a group; its name begins with a capital letter.

        Raises
        ------
        TypeError
            If there are neither values nor a shape.

        """
        from ndx_simulation_output.nwb.exports import as_stored, create_array, create_axis, encoded

        name, shape = name[:1].upper() + name[1:], self._whole()
        dtype = np.dtype(self.dtype or (float if self.values is None else self.values.dtype))
        if kind == "axis":
            facts = {"label": title, **{key: metadata[key] for key in _AXIS & set(metadata)}}
            told = Axis(data=np.zeros(0), **facts)
            axis = ExportAxis(name, told.data, told.label, told.units, told.index)
            axis = replace(axis, spread_order=told.spread_order, grows=self.grows)
            made = create_axis(group, axis, shape, dtype)
        else:
            array = _described(name, kind, title, metadata, grows=self.grows)
            stored = replace(how, points=len(self.scan))
            made = create_array(group, array, shape, dtype, stored, self.fill)
        if self.values is not None and not self.grows:
            kept, added, _ = encoded(dtype, name)
            made[...] = as_stored(np.asarray(self.values, dtype), kept, added)
        return made

    def _whole(self) -> tuple[int, ...]:
        if self.values is None and self.shape is None:
            msg = "neither array_to_save nor data_shape is given; expected one of them"
            raise TypeError(msg)
        own = tuple(self.shape or ()) if self.values is None else self.values.shape
        if self.grows:
            return (0, *own)
        # Single values have no dimension of their own in a scan.
        return own if not self.scan else (*self.scan, *(() if own == (1,) else own))


def _described(
    name: str, kind: str, title: str, metadata: Mapping[str, Any], *, grows: bool
) -> ExportArray:
    told = {key: metadata[key] for key in _TOLD & set(metadata)}
    return ExportArray(
        name,
        np.zeros(0),
        role=ROLES.get(kind, kind),
        title=title,
        unit=metadata.get("units", ""),
        nav_indexes=tuple(metadata.get("nav_indexes", ())),
        grows=grows,
        extra={key: to_json(value) for key, value in metadata.items() if key not in _FIELDS},
        **told,
    )
