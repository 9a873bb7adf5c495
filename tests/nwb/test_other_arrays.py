"""Arrays of other libraries in objects of pynwb are read as those of h5py and numpy are."""

import re
from dataclasses import replace
from datetime import datetime, timezone
from importlib.util import find_spec
from io import BytesIO
from uuid import uuid4

import h5py
import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import ElementIdentifiers, VectorData, VectorIndex
from hdmf.data_utils import DataChunkIterator, DataIO
from pynwb import NWBFile
from pynwb.ecephys import ElectricalSeries
from pynwb.misc import Units

from ndx_simulation_output import Compartments, CompartmentSeries, convert
from ndx_simulation_output.errors import LayoutError, ShapeMismatchError, SourceError
from ndx_simulation_output.info import describe
from ndx_simulation_output.nwb.reader import _read_output as read_nwbfile
from ndx_simulation_output.nwb.types import (
    Axis,
    DataWithAxes,
    LabeledArray,
    NetworkState,
    PopulationState,
    ProjectionState,
)
from ndx_simulation_output.plots import reduce_heat_map, reduce_traces
from ndx_simulation_output.recording import ArrayAxis, ArrayWithAxes, SimulationOutput
from ndx_simulation_output.recording.array_groups import unfit_axes
from ndx_simulation_output.storage.layout import StorageOptions

VALUES = np.arange(600.0).reshape(100, 6)


def text_as_object(values):
    values = np.asarray(values)
    return values.astype(object) if values.dtype.kind == "U" else values


class FileWithoutId:
    mode, filename = "r", "run.lindi.json"


class DatasetWithoutId(h5py.Dataset):
    """A dataset as those of LINDI: the id is a text, and only these members work.

    Measured with LINDI 0.4.6: all others fail, because they use the identifier of HDF5.
    """

    def __init__(self, values):
        self._values = text_as_object(values)
        self._id = "140/acquisition/v/data"

    id = property(lambda self: self._id)
    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    dtype = property(lambda self: self._values.dtype)
    nbytes = property(lambda self: self._values.nbytes)
    maxshape = property(lambda self: self._values.shape)
    chunks = property(lambda self: self._values.shape)
    name = "/acquisition/v/data"
    file = FileWithoutId()

    def __getitem__(self, key, new_dtype=None):
        return self._values[key]

    def __repr__(self):
        return "<DatasetWithoutId>"


class DatasetOfAServer(DatasetWithoutId):
    def __getitem__(self, key, new_dtype=None):
        msg = "503 Service Unavailable"
        raise Exception(msg)  # noqa: TRY002 - what LINDI raises


def of_zarr(values):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    return zarr.array(np.asarray(values))


def big_endian(values):
    values = np.asarray(values)
    return values.astype(values.dtype.newbyteorder(">")) if values.dtype.kind in "iuf" else values


def read_only(values):
    values = np.array(values)
    values.flags.writeable = False
    return values


def mapped(path):
    def create(values):
        made = np.memmap(path / uuid4().hex, np.asarray(values).dtype, "w+", shape=values.shape)
        made[...] = values
        return made

    return create


def a_file(wrap, wrap_all=None):
    """Return the contents of an NWB file whose data are wrapped."""
    every = wrap if wrap_all is None else wrap_all
    ends = np.array([2, 4, 6])
    columns = {"number": np.tile([0, 1], 3), "label": np.array(["soma", "dend"] * 3)}
    made = []
    for name, values in columns.items():
        column = VectorData(name=name, description=name, data=every(values))
        made += [column, VectorIndex(name=f"{name}_index", target=column, data=every(ends))]
    of_ids = every if every is DatasetWithoutId else np.asarray  # hdmf checks those of h5py
    ids = ElementIdentifiers(name="id", data=of_ids(np.array([0, 10, 20])))
    table = Compartments(name="compartments", id=ids, columns=made, colnames=[*columns])
    series = {"compartments": table, "unit": "volts", "conversion": 1e-3}
    regular = CompartmentSeries(name="v", data=wrap(VALUES), rate=10.0, **series)
    times = wrap(np.sqrt(np.arange(100)))
    irregular = CompartmentSeries(name="ca", data=wrap(VALUES), timestamps=times, **series)
    axis = Axis(name="x", data=wrap(np.arange(100.0)), index=0)
    image = LabeledArray(name="image", data=wrap(VALUES[:, :3]))
    weight = VectorData(name="w", description="w", data=every(np.array([0.5, 0.6, 0.7])))
    facts = {"name": "w", "column": "w", "locality": "local", "kind": "", "type": "<f8"}
    facts = {f"quantity_{name}": [text] for name, text in facts.items()}
    cells = PopulationState(
        name="exc", geometry=[3], id=[0, 1, 2], columns=[weight], colnames=["w"],
        quantity_declared_type=[""], quantity_value=[0.0], **facts,
    )  # fmt: skip
    ranks = VectorData(name="pre_rank", description="rank", data=every(np.array([0, 2])))
    rows = VectorIndex(name="pre_rank_index", target=ranks, data=every(np.array([2])))
    to_exc = ProjectionState(name="p", id=[1], columns=[ranks, rows], colnames=["pre_rank"])
    spikes = VectorData(name="spike_times", description="t", data=every(np.array([0.1, 0.2, 0.3])))
    of_cells = VectorIndex(name="spike_times_index", target=spikes, data=every(np.array([1, 3])))
    node_id = VectorData(name="node_id", description="id", data=every(np.array([4, 7])))
    nwbfile = NWBFile("run", "run", datetime(2026, 1, 31, tzinfo=timezone.utc))
    for one in (table, regular, irregular):
        nwbfile.add_acquisition(one)
    nwbfile.add_acquisition(DataWithAxes(name="camera", labeled_arrays=[image], axis=[axis]))
    nwbfile.add_acquisition(
        NetworkState(name="net", population_states=[cells], projection_states=[to_exc])
    )
    nwbfile.units = Units(
        name="units", id=[0, 1], columns=[spikes, of_cells, node_id],
        colnames=["spike_times", "node_id"],
    )  # fmt: skip
    device = nwbfile.create_device("d")
    group = nwbfile.create_electrode_group("g", "g", "unknown", device)
    nwbfile.add_electrode(location="unknown", group=group)
    electrodes = nwbfile.create_electrode_table_region([0], "all")
    nwbfile.add_acquisition(
        ElectricalSeries(name="lfp", data=wrap(VALUES[:, 0]), electrodes=electrodes, rate=10.0)
    )
    return nwbfile


def everything(nwbfile, path):
    """Return what all methods that read return, as lists."""
    series = nwbfile.acquisition["v"]
    output = read_nwbfile(nwbfile, "run.nwb")
    (network,) = output.networks
    found = {
        "traces": series.get_traces(cells=[20, 0], numbers=1, start=0.5, stop=2.0, step=2),
        "all": series.get_traces(),
        "labels": series.get_traces(labels="dend"),
        "irregular": nwbfile.acquisition["ca"].select(cells=10, stop=3.0).times,
        "columns": series.find_compartments([20, 0], 1),
        "frame": series.to_dataframe(cells=10),
        "drawn": reduce_traces(output.reports[0], np.array([1, 4]), pixels=5).values,
        "heat map": reduce_heat_map(output.reports[0], None, shape=(3, 5)).values,
        "potential": output.potentials[0].data[:, :],
        "spikes": output.spikes[0].times,
        "cells": output.spikes[0].node_ids,
        "image": output.arrays[0].arrays[0].values[1:3, ::2],
        "axis": output.arrays[0].axes[0].values[:],
        "weights": network.populations[0].quantities[0].values[:],
        "ranks": network.projections[0].pre_ranks[:],
        "text": [
            line.replace(">f8", "float64")
            for line in describe(output)
            if not re.search("on disk|in memory", line)
        ],
    }
    if find_spec("dask"):
        found["dask"] = series.to_dask(cells=10).compute(scheduler="synchronous")
    if find_spec("xarray"):
        found["xarray"] = series.to_xarray(cells=10)
        found["arrays"] = nwbfile.acquisition["camera"].to_xarray()["image"]
    html = "".join(
        one._repr_html_() for one in nwbfile.acquisition.values() if hasattr(one, "_plots")
    )
    assert "cannot be read" not in html
    assert html.count("<svg") == 5
    convert(output, path)
    with h5py.File(path) as file:
        found["converted"] = file["acquisition/v/data"][:]
    return {key: np.asarray(value).tolist() for key, value in found.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return everything(a_file(np.asarray), tmp_path_factory.mktemp("expected") / "run.nwb")


MEMORY = {"driver": "core", "backing_store": False}


@pytest.mark.parametrize(
    "wrap",
    [
        DatasetWithoutId,
        lambda values: DataIO(DatasetWithoutId(values)),
        lambda values: np.asarray(values).tolist(),
        lambda values: tuple(np.asarray(values).tolist()),
        lambda values: H5DataIO(np.asarray(values), compression="gzip"),
        of_zarr,
        big_endian,
        read_only,
    ],
    ids=["lindi", "lindi in DataIO", "list", "tuple", "H5DataIO", "zarr", "big", "read-only"],
)
def test_all_methods_read_any_array(wrap, expected, tmp_path):
    assert everything(a_file(wrap), tmp_path / "run.nwb") == expected


def test_all_methods_read_mapped_arrays(expected, tmp_path):
    assert everything(a_file(mapped(tmp_path), np.asarray), tmp_path / "run.nwb") == expected


@pytest.mark.parametrize("place", ["memory", "file object"])
def test_all_methods_read_datasets_that_are_not_on_disk(place, expected, tmp_path):
    is_memory = place == "memory"
    with h5py.File(
        "memory" if is_memory else BytesIO(), "w", **(MEMORY if is_memory else {})
    ) as file:

        def wrap(values):
            values = text_as_object(values)
            text = h5py.string_dtype() if values.dtype == object else None
            return file.create_dataset(None, data=values, dtype=text)

        assert everything(a_file(wrap), tmp_path / "run.nwb") == expected


def test_an_array_of_dask_is_converted(tmp_path):
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    report = read_nwbfile(a_file(np.asarray), "run.nwb").reports[1]
    lazy = replace(report, data=da.from_array(VALUES, chunks=(30, 4)))

    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    convert(SimulationOutput(reports=(lazy,)), tmp_path / "run.nwb", metadata=session)

    assert lazy.get_traces(cells=10).tolist() == report.get_traces(cells=10).tolist()
    with h5py.File(tmp_path / "run.nwb") as file:
        assert file["acquisition/v/data"][:].tolist() == VALUES.tolist()


def test_a_recording_without_rows_is_shown_whatever_its_chunks():
    table, data = a_file(np.asarray).acquisition["compartments"], DatasetWithoutId(VALUES[:0])
    assert data.chunks == (0, 6)

    series = CompartmentSeries(name="w", data=data, compartments=table, unit="V", rate=1.0)

    assert "0 times × 6 compartments" in series._repr_html_()


def test_a_dataset_without_id_cannot_be_linked(tmp_path):
    output = read_nwbfile(a_file(DatasetWithoutId), "run.nwb")

    with pytest.raises(LayoutError, match="its source is not an HDF5 dataset"):
        convert(output, tmp_path / "run.nwb", storage=StorageOptions(link=True))


def test_an_error_of_another_library_names_the_dataset():
    series = a_file(DatasetOfAServer, np.asarray).acquisition["v"]

    with pytest.raises(SourceError, match=r"acquisition/v/data of run.lindi.json: .*503 Service"):
        series.get_traces(cells=10)
    assert "503 Service" in series._repr_html_()


@pytest.mark.parametrize(
    "wrap", [DataChunkIterator, lambda _: H5DataIO(shape=(0, 6), dtype=np.dtype("f8"))]
)
def test_data_that_are_not_there_yet_are_an_error(wrap):
    nwbfile = a_file(np.asarray)
    table = nwbfile.acquisition["compartments"]
    series = CompartmentSeries(name="w", data=wrap(VALUES), compartments=table, unit="V", rate=1.0)
    camera = DataWithAxes(
        name="camera", labeled_arrays=[LabeledArray(name="image", data=wrap(VALUES))]
    )

    with pytest.raises(ShapeMismatchError, match="CompartmentSeries 'w' has no data yet"):
        series.get_traces()
    with pytest.raises(ShapeMismatchError, match="LabeledArray 'image' has no data yet"):
        camera.to_xarray()


def test_other_arrays_are_looked_at_only_for_an_axis_that_does_not_fit():
    class Other:
        role = "data"  # It has no values.

    array, axis = ArrayWithAxes("a", np.zeros(3)), ArrayAxis("x", np.arange(3.0))

    assert list(unfit_axes(array, [array, Other()], [axis])) == []
