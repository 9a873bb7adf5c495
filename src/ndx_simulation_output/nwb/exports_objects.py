"""What instruments gave as objects of pynwb, for files that others write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile

from ndx_simulation_output.nwb.exports import as_stored, clean_text, encoded, json_text, unlike
from ndx_simulation_output.nwb.exports_writing import can_be_series
from ndx_simulation_output.nwb.types import (
    AxesTimeSeries,
    Axis,
    DataToExport,
    DataWithAxes,
    LabeledArray,
)
from ndx_simulation_output.recording import ExportArray, ExportAxis, ExportGroup, LazyArray
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.exports import is_nav_group

__all__ = ["Place", "add_exports"]

Place = Callable[[LazyArray], Any]
"""Gives what stands for the values of an array until they are written, or the values."""


def add_exports(nwbfile: NWBFile, exports: Sequence[ExportGroup], place: Place) -> None:
    """Add groups and all below them to the acquisition, as ``exports_writing`` writes them.

    Raises
    ------
    ExportError
        If values are Python objects other than text.

    """
    maker = _Maker(nwbfile.timestamps_reference_time.timestamp(), place)
    for export in exports:
        name = unlike(nwbfile.acquisition, export.name)
        nwbfile.add_acquisition(maker.group(export, name))


@dataclass(frozen=True)
class _Stored:
    """Values of a type that NWB does not have, as the numbers that they are stored as."""

    array: LazyArray
    dtype: np.dtype[Any]
    added: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension, the added one last."""
        return (*self.array.shape, *self.added)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read the slices ``key``, or all."""
        key = key if isinstance(key, tuple) else (key,)
        rank = len(self.array.shape)
        values = np.asarray(self.array[key[:rank]], self.array.dtype)
        return as_stored(values, self.dtype, self.added)[(..., *key[rank:])]


class _Maker:
    """Makes groups; ``reference`` is when the time of the file is 0, in seconds since 1970."""

    def __init__(self, reference: float, place: Place) -> None:
        self._reference, self._place = reference, place
        self._first: dict[int, AxesTimeSeries] = {}

    def group(
        self, group: ExportGroup, name: str, nav: tuple[ExportAxis, ...] | None = None
    ) -> Any:
        """Make a group; ``nav`` are the navigation axes, None for one that is in no other."""
        top = nav is None
        below = [found for found in group.groups if is_nav_group(found.name)]
        nav = below[0].axes if below else nav or ()
        times = [can_be_series(array, nav) for array in group.arrays]
        taken: list[str] = []
        axes = [_axis(axis, _named(axis.name, taken)) for axis in group.axes]
        arrays, inside = [], []
        for array, time in zip(group.arrays, times, strict=True):
            named = _named(array.name, taken)
            if time is None:
                arrays.append(self._array(array, named))
            else:
                inside.append(self._series(array, named, time))
        inside += [self.group(child, _named(child.name, taken), nav) for child in group.groups]
        facts = {
            "name": name,
            "title": clean_text(group.title),
            "group_type": clean_text(group.kind),
            "settings": clean_text(group.settings),
            "extra_attributes": json_text(group.extra),
            "labeled_arrays": arrays,
            "axis": axes,
        }
        if top or group.groups or any(times):
            return DataToExport(nwb_data_interfaces=inside, **facts)
        return DataWithAxes(**facts)

    def _array(self, array: ExportArray, name: str) -> Any:
        stored, added, value_type = encoded(array.values.dtype, name)
        values: Any = array.values
        if values.dtype.kind == "O":
            values = np.asarray(values[()], object)
        else:
            values = self._place(_Stored(values, stored, added) if added else values)
        unit = clean_text(array.unit)
        facts = _facts(array)
        return LabeledArray(name=name, data=values, unit=unit, value_type=value_type, **facts)

    def _series(self, array: ExportArray, name: str, time: ExportAxis) -> Any:
        shared = self._first.get(id(time))
        made = AxesTimeSeries(
            name=name,
            data=self._place(array.values),
            unit=array.unit or "unknown",
            description=clean_text(array.title) or "no description",
            timestamps=shared or read_all(time.values).astype(np.float64) - self._reference,
            **_facts(array),
        )
        self._first.setdefault(id(time), made)
        return made


def _named(name: str, taken: list[str]) -> str:
    taken.append(unlike(taken, name))
    return taken[-1]


def _axis(axis: ExportAxis, name: str) -> Any:
    return Axis(
        name=name,
        data=read_all(axis.values),
        description=clean_text(axis.label) or "An independent variable",
        label=clean_text(axis.label),
        unit=clean_text(axis.unit),
        index=axis.index,
        spread_order=axis.spread_order,
    )


def _facts(array: ExportArray) -> dict[str, Any]:
    texts = {
        key: clean_text(getattr(array, key))
        for key in ("label", "title", "role", "source", "distribution", "origin")
    }
    nav = np.asarray(array.nav_indexes, np.int32) if array.nav_indexes else None
    extra = json_text(array.extra)
    return {**texts, "nav_indexes": nav, "timestamp": array.timestamp, "extra_attributes": extra}
