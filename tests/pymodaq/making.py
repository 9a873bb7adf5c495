"""Create files with h5py as PyMoDAQ writes them."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

NAMES = ["01_axis", "02_data_bkg", "03_dte", "07_bkg_multi", "09_extended"]
NAMES += ["10_dte_enlargeable", "11_dte_timed"]
VERSIONS = ["v4_0_11_tables", "v4_4_5_tables", "v5_3_0_h5py"]
GENUINE = [f"{version}/{name}" for version in VERSIONS for name in NAMES]


def packed(value: Any) -> str:
    kind = type(value)
    return json.dumps({"module": kind.__module__, "type": kind.__name__, "data": repr(value)})


def describe(node: h5py.Group | h5py.Dataset, cls: str, title: str, **attributes: Any) -> None:
    node.attrs["CLASS"], node.attrs["TITLE"] = cls, title
    for name, value in attributes.items():
        node.attrs[name] = packed(value)


def make_file(path: Path, root: str = "RawData") -> h5py.File:
    file = h5py.File(path, "w")
    describe(file, "GROUP", "PyMoDAQ file", pymodaq_version="4.4.5", date="2026-11-20")
    file.attrs["time"] = packed("17:28:57")
    describe(file.create_group(root), "GROUP", "Data from PyMoDAQ modules", type="scan")
    return file


def make_group(parent: h5py.Group, name: str, title: str = "", **attributes: Any) -> h5py.Group:
    group = parent.create_group(name)
    describe(group, "GROUP", title, **attributes)
    return group


def make_array(
    group: h5py.Group, name: str, values: Any, title: str = "", **attributes: Any
) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=np.asarray(values))
    attributes = {"data_type": "data", "source": "raw", "nav_indexes": (), **attributes}
    describe(dataset, "CARRAY", title, **attributes)
    return dataset


def decoded(value: Any) -> Any:
    """Return the value of JSON in an expected result."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"float"}:
            return float(value["float"])
        if set(value) == {"tuple"}:
            return tuple(decoded(item) for item in value["tuple"])
        if set(value) == {"re", "im"}:
            return complex(value["re"], value["im"])
    return value
