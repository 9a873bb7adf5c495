"""Write spikes."""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.sonata.hdf5 import (
    attribute_text,
    attributes_from_json,
)
from ndx_simulation_output.adapters.sonata.spikes import ROUNDING
from ndx_simulation_output.adapters.sonata.write_reports import create_ids
from ndx_simulation_output.recording import Spikes, Unit, parse_unit, unit_symbol

__all__ = ["source_times", "write_spikes"]

_MS_PER_S = 1000.0
_SORTING = {"none": 0, "by_id": 1, "by_time": 2}
_OLD_SORTING = {"by_gid": "by_id", "time": "by_time"}


def write_spikes(file: h5py.File, spikes: Spikes, dialect: str, *, alone: bool) -> None:
    """Write the spikes of one population to ``/spikes/<population>``.

    Spikes whose source named no population go out without one in the Allen dialect, if they are
    ``alone``: ``/spikes/{gids, timestamps}``.
    """
    facts = spikes.provenance if spikes.provenance.get("format") == "SONATA" else {}
    attributes = facts.get("attributes", {})
    root = file.require_group("spikes")
    unnamed = facts.get("named") is False and dialect == "allen" and alone
    group = root if unnamed else root.create_group(spikes.population)
    dtypes = facts.get("dtypes", {})
    name = "gids" if unnamed else "node_ids"
    stated = dtypes.get("node_ids", dtypes.get("gids", "<u8"))
    id_dataset = create_ids(group, name, spikes.node_ids, stated)
    times = source_times(spikes).astype(dtypes.get("timestamps", "<f8"))
    time_dataset = group.create_dataset("timestamps", data=times)
    same = facts.get("dialect") == dialect
    if same:
        attributes_from_json(group, attributes.get(".", {}))
    attributes_from_json(root, attributes.get("..", {}))
    attributes_from_json(id_dataset, attributes.get("node_ids", attributes.get("gids", {})))
    attributes_from_json(time_dataset, attributes.get("timestamps", {}))
    may_lack = "attributes" in facts and (same or dialect == "allen")
    _write_unit(time_dataset, spikes.provenance.get("per_second", _MS_PER_S), may_lack=may_lack)
    if "sorting" not in group.attrs:
        _write_sorting(group, _sorting(spikes, facts), dialect)


def _write_unit(times: h5py.Dataset, per_second: float, *, may_lack: bool) -> None:
    """Write the unit of the times, unless what the source said (or left out) means the same."""
    stated = parse_unit(attribute_text(times, "units", "unit") or "ms")
    same = stated is not None and round(1 / stated.conversion, 9) == per_second
    if not same or ("units" not in times.attrs and not may_lack):
        times.attrs["units"] = unit_symbol(Unit("seconds", 1 / per_second)) or "ms"


def source_times(spikes: Spikes) -> NDArray[np.float64]:
    """Give the times in the unit and with the very bits of the source; shape (spike,)."""
    per_second = spikes.provenance.get("per_second", _MS_PER_S)
    times = spikes.times * per_second if per_second != 1 else spikes.times.copy()
    if ROUNDING in spikes.columns:
        times = (times.view(np.int64) + spikes.columns[ROUNDING]).view(np.float64)
    return times


def _sorting(spikes: Spikes, facts: Mapping[str, Any]) -> str | None:
    """Give the sorting that the source claimed, in today's word; that of others is seen."""
    if not facts:
        by_time = bool((np.diff(spikes.times) >= 0).all())
        by_id = bool((np.diff(spikes.node_ids.astype(np.int64)) >= 0).all())
        return "by_time" if by_time else "by_id" if by_id else "none"
    attributes = facts.get("attributes", {})
    for name in (".", ".."):
        stated = attributes.get(name, {}).get("sorting")
        if isinstance(stated, dict):
            return next((word for word, code in _SORTING.items() if code == stated["value"]), None)
        if isinstance(stated, str):
            return _OLD_SORTING.get(stated, stated)
    return None


def _write_sorting(group: h5py.Group, sorting: str | None, dialect: str) -> None:
    if sorting is None:
        return
    if dialect == "allen":
        group.attrs["sorting"] = sorting
    elif sorting in _SORTING:
        dtype = h5py.enum_dtype(_SORTING, basetype=np.uint8)
        group.attrs.create("sorting", _SORTING[sorting], dtype=dtype)
