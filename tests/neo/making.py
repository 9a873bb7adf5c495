"""Write NIX files as Neo does, with h5py: only what is read of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@dataclass
class Signal:
    """A signal; ``step`` (ms) is None for one with ``ticks``."""

    values: Any
    name: str = "v"
    unit: str = "mV"
    step: float | None = 0.1
    start: float = 0.0
    time_unit: str = "ms"
    ticks: Any = None
    annotations: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Train:
    """A spike train, event or epoch, by its ``type``."""

    times: Sequence[float]
    type: str = "spiketrain"
    name: str = ""
    unit: str = "ms"
    bounds: tuple[float, float] = (0.0, 30.0)
    durations: Sequence[float] | None = None
    labels: Sequence[str] | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)


def write_nix(
    path: Path,
    blocks: Mapping[str, Sequence[Sequence[Signal | Train]]],
    annotations: Mapping[str, Any] | None = None,
) -> Path:
    """Write blocks by name, each a list of segments; ``annotations`` are those of each block."""
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update({"format": "nix", "version": [1, 2, 1]})
        for number, (name, segments) in enumerate(blocks.items()):
            block = file.create_group(f"data/neo.block.{number}", track_order=True)
            block.attrs.update({"type": "neo.block", "created_at": "20261130T070000"})
            _annotate(block, name, annotations or {}, {})
            groups = block.create_group("groups", track_order=True)
            for index, segment in enumerate(segments):
                group = groups.create_group(f"neo.segment.{index}", track_order=True)
                group.attrs["type"] = "neo.segment"
                _annotate(group, f"segment{index:03}", {}, {})
                for rank, item in enumerate(segment):
                    (_write_signal if isinstance(item, Signal) else _write_train)(group, rank, item)
    return path


def _write_signal(group: h5py.Group, rank: int, signal: Signal) -> None:
    kind = "analogsignal" if signal.ticks is None else "irregularlysampledsignal"
    for channel, values in enumerate(np.asarray(signal.values, float).T):
        node = group.create_group(f"data_arrays/{rank}-{99 - channel}")  # in another order
        stem = f"neo.{kind}.{rank}"
        node.attrs.update({"type": f"neo.{kind}", "name": f"{stem}.{channel}", "unit": signal.unit})
        node["data"] = values
        dimension = node.create_group("dimensions/1")
        dimension.attrs["unit"] = signal.time_unit
        if signal.ticks is None:
            dimension.attrs.update({"sampling_interval": signal.step, "offset": signal.start})
        else:
            dimension["ticks"] = np.asarray(signal.ticks, float)
        if channel:
            node["metadata"] = group[f"data_arrays/{rank}-99/metadata"]
        else:
            _annotate(node, signal.name, signal.annotations, signal.columns)
        group.parent.parent.require_group("data_arrays")[node.attrs["name"]] = node


def _write_train(group: h5py.Group, rank: int, train: Train) -> None:
    node = group.create_group(f"multi_tags/{rank}")
    node.attrs.update({"type": f"neo.{train.type}", "name": f"neo.{train.type}.{rank}"})
    node["positions/data"] = np.asarray(train.times, float)
    node["positions"].attrs["unit"] = train.unit
    if train.labels is not None:
        node["positions/dimensions/1/labels"] = list(train.labels)
    if train.durations is not None:
        node["extents/data"] = np.asarray(train.durations, float)
        node["extents"].attrs["unit"] = train.unit
    _annotate(node, train.name, train.annotations, train.columns)
    if train.type == "spiketrain":
        for name, bound in zip(("t_start", "t_stop"), train.bounds, strict=True):
            node[f"metadata/properties/{name}"] = [bound]
            node[f"metadata/properties/{name}"].attrs["unit"] = train.unit


def _annotate(
    node: h5py.Group, name: str, annotations: Mapping[str, Any], columns: Mapping[str, Any]
) -> None:
    properties = node.create_group("metadata/properties")
    for key, value in {"neo_name": name, **annotations}.items():
        properties[key] = value if isinstance(value, list) else [value]
    for key, values in columns.items():
        properties[key] = values
        properties[key].attrs["type"] = "ARRAYANNOTATION"
