"""The interfaces of neuroconv give the same file as ``convert`` does."""

import gc
import json
import tracemalloc
from datetime import datetime, timezone
from importlib.util import find_spec
from itertools import permutations

import h5py
import numpy as np
import pytest
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import NWBHDF5IO

from ndx_simulation_output import StorageOptions, convert, open_output, sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.errors import MetadataError, NameClashError, SourceError
from ndx_simulation_output.nwb.checks import check_file

if find_spec("neuroconv") is None:
    pytest.skip("neuroconv is not installed", allow_module_level=True)

import jsonschema
from neuroconv import ConverterPipe, NWBConverter
from neuroconv.tools.nwb_helpers import (
    configure_and_write_nwbfile,
    make_nwbfile_from_metadata,
)
from neuroconv.tools.testing.mock_interfaces import MockRecordingInterface, MockSortingInterface

from ndx_simulation_output.neuroconv import (
    AnnarchyInterface,
    NeuronvisioInterface,
    PymodaqInterface,
    SonataInterface,
)
from tests.sonata import circuits

WHEN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
pytestmark = pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")


@pytest.fixture(autouse=True)
def nothing_open():
    """Collect what neuroconv's objects keep open: they refer to each other."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sonata")
    sonata.write(simulate(), directory, dialect="bbp")
    return directory


SESSION = {
    "NWBFile": {"session_start_time": WHEN},
    "Subject": {"subject_id": "model", "species": "Mus musculus", "sex": "U", "age": "P0D"},
}


def metadata_of(interface):
    metadata = interface.get_metadata()
    metadata.deep_update(SESSION)
    return metadata


def converted(interface, target, **options):
    interface.run_conversion(target, metadata=metadata_of(interface), **options)
    return target


def by_convert(source, target, **options):
    convert(source, target, metadata=SESSION, **options)
    return target


def contents(path, ignored=()):
    """Every dataset and attribute of a file but what differs from one writing to the next."""
    found = {}

    def note(name, node):
        if name.split("/")[0] in {"specifications", "file_create_date", "identifier"}:
            return
        for key, value in node.attrs.items():
            if key not in {"object_id", ".specloc"} and not isinstance(value, h5py.Reference):
                found[f"{name}@{key}"] = np.asarray(value).tolist()
        if isinstance(node, h5py.Dataset) and name not in ignored:
            values = node[()]
            is_text = h5py.check_string_dtype(node.dtype) is not None
            is_link = h5py.check_dtype(ref=node.dtype) is not None
            found[name] = None if is_link else values if is_text else np.asarray(values)
            found[f"{name} type"] = str(node.dtype)

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def assert_same(path, expected):
    source_script = {"general/source_script"}
    ours, theirs = contents(path, source_script), contents(expected)
    ours = {name: value for name, value in ours.items() if "source_script" not in name}

    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


def test_sonata_gives_the_file_that_convert_gives(run, tmp_path):
    path = converted(SonataInterface(folder_path=run), tmp_path / "ours.nwb")

    assert_same(path, by_convert(run, tmp_path / "convert.nwb"))
    assert not [finding for finding in check_file(path) if finding.severity == "error"]


@pytest.mark.parametrize(
    "name",
    [
        "allen_9cells_v.h5",
        "allen_9cells_spikes.h5",
        "allen_tutorial_ecp.h5",
        "ext_usecase3_comp_2pops.h5",
        "libsonata_elements.h5",
        "snap_soma_report.h5",
        "syn_gzip_chunked.h5",
        "syn_zero_element_cell.h5",
    ],
)
def test_genuine_files_of_sonata_give_the_file_that_convert_gives(name, sonata_data, tmp_path):
    interface = SonataInterface(file_paths=[sonata_data / name])

    path = converted(interface, tmp_path / "ours.nwb")

    assert_same(path, by_convert(sonata_data / name, tmp_path / "convert.nwb"))


def test_the_circuit_of_a_run_is_that_of_convert(tmp_path):
    config, options = circuits.write_run(tmp_path, "bbp"), {"circuit": True, "edges": True}

    path = converted(SonataInterface(file_paths=[config], **options), tmp_path / "ours.nwb")

    assert_same(path, by_convert(config, tmp_path / "convert.nwb", **options))


@pytest.mark.parametrize("name", ["flat_nv050_pt240.h5", "cvode_nv091_pt240.h5"])
def test_genuine_storages_of_neuronvisio_give_the_file_that_convert_gives(
    name, neuronvisio_data, tmp_path
):
    interface = NeuronvisioInterface(neuronvisio_data / name, unit={"v": "mV"})

    path = converted(interface, tmp_path / "ours.nwb")

    source = neuronvisio_data / name
    assert_same(path, by_convert(source, tmp_path / "convert.nwb", unit={"v": "mV"}))


def test_genuine_files_of_pymodaq_give_the_file_that_convert_gives(pymodaq_data, tmp_path):
    files = sorted(pymodaq_data.rglob("*.h5"))
    assert files
    for place, file in enumerate(files):
        path = converted(PymodaqInterface(file), tmp_path / f"{place}.nwb")

        assert_same(path, by_convert(file, tmp_path / f"{place}-convert.nwb"))


@pytest.mark.parametrize("name", ["network.npz", "projection_exc_to_inh.npz"])
def test_genuine_files_of_annarchy_give_the_file_that_convert_gives(name, annarchy_data, tmp_path):
    source = annarchy_data / "annarchy-4.8.2.7" / name

    path = converted(AnnarchyInterface(source, dt=0.5), tmp_path / "ours.nwb")

    assert_same(path, by_convert(source, tmp_path / "convert.nwb", dt=0.5))


def test_data_are_in_chunks_as_planned_unless_the_backend_is_configured(run, tmp_path):
    interface = SonataInterface(folder_path=run)
    nwbfile = interface.create_nwbfile(
        metadata_of(interface), storage=StorageOptions(access="frames")
    )
    configuration = interface.get_default_backend_configuration(nwbfile)
    planned = configuration.dataset_configurations["acquisition/v_exc/data"].chunk_shape
    changed = configuration.dataset_configurations["acquisition/v_inh/data"]
    changed.chunk_shape, changed.compressors = (500, 11), []

    configure_and_write_nwbfile(nwbfile, tmp_path / "run.nwb", backend_configuration=configuration)

    with h5py.File(tmp_path / "run.nwb") as file, open_output(run) as output:
        first, second = file["acquisition/v_exc/data"], file["acquisition/v_inh/data"]
        assert first.chunks == planned == (first.shape[0] // 2, first.shape[1])
        assert (second.chunks, second.compression) == ((500, 11), None)
        np.testing.assert_array_equal(second[()], output["v_inh"].data[:, :])


def test_data_are_read_only_when_they_are_written(tmp_path):
    rows, cells = 4000, 2000
    with h5py.File(tmp_path / "v.h5", "w") as file:
        group = file.create_group("report/cortex")
        group.create_dataset("data", (rows, cells), "f8", chunks=(100, cells))
        group["mapping/node_ids"] = np.arange(cells)
        group["mapping/index_pointers"] = np.arange(cells + 1)
        group["mapping/element_ids"] = np.zeros(cells, int)
        group["mapping/element_pos"] = np.full(cells, 0.5)
        group["mapping/time"] = [0.0, rows * 0.1, 0.1]
    interface = SonataInterface(file_paths=[tmp_path / "v.h5"], unit={"v": "mV"})
    tracemalloc.start()

    nwbfile = interface.create_nwbfile(metadata_of(interface))
    (series,) = nwbfile.acquisition.values()
    described = tracemalloc.get_traced_memory()[1]
    configure_and_write_nwbfile(nwbfile, tmp_path / "run.nwb", backend="hdf5")

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(series.data.data, GenericDataChunkIterator)
    assert described < 8 * 2**20
    assert peak < rows * cells * 8 / 2


def test_a_file_can_be_written_as_a_zarr_store(run, tmp_path):
    interface = SonataInterface(file_paths=[run / "v.h5"])

    path = converted(interface, tmp_path / "run.nwb.zarr", backend="zarr")

    with open_output(run / "v.h5") as expected, open_output(path) as output:
        for report in expected.reports:
            found = output[report.name].get_traces()
            np.testing.assert_array_equal(found, report.get_traces())


def test_all_interfaces_go_into_one_file(
    run, neuronvisio_data, pymodaq_data, annarchy_data, tmp_path
):
    interfaces = {
        "network": SonataInterface,
        "cell": NeuronvisioInterface,
        "state": AnnarchyInterface,
        "instrument": PymodaqInterface,
    }
    converter_class = type("Converter", (NWBConverter,), {"data_interface_classes": interfaces})
    storage = neuronvisio_data / "flat_nv091_pt240.h5"
    instrument = min(pymodaq_data.rglob("*.h5"))
    source = {
        "network": {"folder_path": run},
        "cell": {"file_path": storage},
        "state": {
            "file_path": annarchy_data / "annarchy-4.8.2.7" / "network.npz",
            "dt": 0.5,
        },
        "instrument": {"file_path": instrument},
    }
    in_json = json.loads(json.dumps(source, default=str))
    jsonschema.validate(in_json, converter_class.get_source_schema())
    converter = converter_class(source)
    options = {"network": {"storage": {"access": "cells"}}}
    converter.validate_conversion_options(options)

    converter.run_conversion(
        tmp_path / "all.nwb", metadata=metadata_of(converter), conversion_options=options
    )

    assert not [
        finding for finding in check_file(tmp_path / "all.nwb") if finding.severity == "error"
    ]
    with open_output(tmp_path / "all.nwb") as found:
        with open_output(run) as network, open_output(storage) as cell:
            assert len(found.reports) == len(network.reports) + len(cell.reports)
            for report in (*network.reports, *cell.reports):
                np.testing.assert_array_equal(found[report.name].get_traces(), report.get_traces())
            for spikes, expected in zip(found.spikes, network.spikes, strict=True):
                np.testing.assert_array_equal(spikes.times, expected.times)
            names = [group.name for group in cell.arrays]
            assert [group.name for group in found.arrays] == [*names, "RawData"]
        assert len(found.networks) == 1
        assert instrument.name in found.provenance["files"]


@pytest.mark.parametrize(
    ("order", "stub"),
    [
        *((order, False) for order in permutations(["network", "units", "electrodes"])),
        (("network", "units", "electrodes"), True),
        *((order, False) for order in permutations(["network", "units"])),
        *((order, False) for order in permutations(["network", "electrodes"])),
    ],
)
def test_a_simulation_is_written_beside_a_recording_in_any_order(order, stub, run, tmp_path):
    path = tmp_path / "both.nwb"
    interfaces = {
        "network": SonataInterface(folder_path=run),
        "units": MockSortingInterface(num_units=3, durations=(1.0,)),
        "electrodes": MockRecordingInterface(num_channels=4, durations=(0.1,)),
    }
    converter = ConverterPipe({name: interfaces[name] for name in order})
    options = {name: {"stub_test": stub} for name in order}

    converter.run_conversion(path, metadata=metadata_of(converter), conversion_options=options)

    assert not [finding for finding in check_file(path) if finding.severity == "error"]
    with NWBHDF5IO(path) as io:
        nwbfile = io.read()
        for table, length, name in (
            (nwbfile.units, 3, "units"),
            (nwbfile.electrodes, 4, "electrodes"),
        ):
            assert (table is not None) == (name in order)
            assert table is None or (len(table) == length)
            assert table is None or not {"node_id", "channel"} & set(table.colnames)
    with open_output(path) as found, open_output(run) as expected:
        simulated = [spikes for spikes in found.spikes if spikes.population != "unknown"]
        assert len(found.spikes) - len(simulated) == ("units" in order)
        cells = [set(map(int, spikes.node_ids)) for spikes in expected.spikes]
        if stub:
            found_cells = [
                {*map(int, spikes.node_ids), *map(int, spikes.silent)} for spikes in simulated
            ]
            assert found_cells == cells
        for spikes, whole in zip(simulated, expected.spikes, strict=True):
            assert spikes.population == whole.population
            n_spikes = len(spikes.times)
            np.testing.assert_array_equal(np.sort(spikes.times), np.sort(whole.times)[:n_spikes])
            assert stub or n_spikes == len(whole.times)
        (potential,) = (part for part in found.potentials if part.name == "ecp")
        positions = expected.potentials[0].electrodes.positions
        np.testing.assert_array_equal(potential.electrodes.positions, positions)
        for report in expected.reports:
            rows = 100 if stub else None
            np.testing.assert_array_equal(found[report.name].data[:], report.data[:rows])


@pytest.mark.parametrize("kind", ["pymodaq", "neuronvisio", "annarchy"])
def test_stub_tests_shorten_every_source(kind, request, tmp_path):
    data = request.getfixturevalue(f"{kind}_data")
    interface = {
        "pymodaq": lambda: PymodaqInterface(file_path=min(data.rglob("*.h5"))),
        "neuronvisio": lambda: NeuronvisioInterface(file_path=data / "flat_nv091_pt240.h5"),
        "annarchy": lambda: AnnarchyInterface(
            file_path=data / "annarchy-4.8.2.7" / "network.npz", dt=0.5
        ),
    }[kind]()

    path = converted(interface, tmp_path / "stub.nwb", stub_test=True)

    with open_output(path) as found:
        groups = [part for group in found.arrays for _, part in group.walk()]
        arrays = [array.values.shape for group in groups for array in group.arrays]
        shapes = [*arrays, *(report.data.shape for report in found.reports)]
        assert shapes or found.networks
        assert all(shape[0] <= 100 for shape in shapes if shape)
    assert not [finding for finding in check_file(path) if finding.severity == "error"]


def test_where_a_simulation_is_written_can_be_said(run, tmp_path):
    interface = SonataInterface(file_paths=[run / "spikes.h5"])
    path = converted(interface, tmp_path / "run.nwb", write_as="processing")

    with NWBHDF5IO(path) as io:
        nwbfile = io.read()
        assert nwbfile.units is None
        assert "node_id" in nwbfile.processing["ecephys"]["simulated_units"].colnames
    with pytest.raises(MetadataError, match="write_as is 'unit'; expected 'units' or 'processing'"):
        interface.add_to_nwbfile(
            make_nwbfile_from_metadata(metadata_of(interface)), write_as="unit"
        )


def test_spikes_find_no_place_beside_those_of_another_source(run, tmp_path):
    interface = SonataInterface(file_paths=[run / "spikes.h5"])
    nwbfile = interface.create_nwbfile(metadata_of(interface))

    with pytest.raises(NameClashError, match="already has units"):
        interface.add_to_nwbfile(nwbfile)


def test_reports_of_the_same_name_are_refused(run):
    interface = SonataInterface(file_paths=[run / "v.h5"])
    nwbfile = interface.create_nwbfile(metadata_of(interface))

    with pytest.raises(NameClashError, match="already has acquisition 'v_exc'"):
        interface.add_to_nwbfile(nwbfile)


def test_a_file_with_a_simulation_on_disk_gets_no_second_one(run, tmp_path):
    path = converted(SonataInterface(file_paths=[run / "v.h5"]), tmp_path / "run.nwb")
    interface = SonataInterface(file_paths=[run / "spikes.h5"])

    with pytest.raises(NameClashError, match="the metadata of a simulation, which are on disk"):
        converted(interface, path, append_on_disk_nwbfile=True)


def test_a_file_without_a_simulation_gets_one_on_disk(run, tmp_path):
    interface = SonataInterface(file_paths=[run / "v.h5"])
    with NWBHDF5IO(tmp_path / "other.nwb", "w") as io:
        io.write(make_nwbfile_from_metadata(metadata_of(interface)))

    converted(interface, tmp_path / "other.nwb", append_on_disk_nwbfile=True)

    with open_output(tmp_path / "other.nwb") as found, open_output(run / "v.h5") as expected:
        for report in expected.reports:
            traces = found[report.name].get_traces()
            np.testing.assert_array_equal(traces, report.get_traces())


def test_the_schemas_say_what_the_interfaces_take():
    source = SonataInterface.get_source_schema()
    assert set(source["properties"]) >= {"file_paths", "folder_path", "unit", "dt"}
    assert source["properties"]["unit"]["description"].startswith("Unit of reports")
    for kind in (NeuronvisioInterface, PymodaqInterface, AnnarchyInterface):
        assert kind.get_source_schema()["required"] == ["file_path"]


def test_the_metadata_are_those_of_the_source_and_fit_their_schema(run):
    interface = SonataInterface(file_paths=[run / "v.h5"])

    metadata = interface.get_metadata()

    assert metadata["NWBFile"]["session_description"] == "Output of a simulation: v.h5"
    assert "session_start_time" not in metadata["NWBFile"]
    interface.validate_metadata(metadata_of(interface))
    schema = interface.get_conversion_options_schema()
    options = schema["properties"]["storage"]["properties"]["access"]
    assert options["enum"] == ["balanced", "cells", "frames"]


def test_run_facts_of_the_metadata_are_written(run, tmp_path):
    interface = SonataInterface(file_paths=[run / "v.h5"])
    metadata = metadata_of(interface)
    metadata["SimulationMetaData"] = {"simulator": "my own", "seed": 3}

    interface.run_conversion(tmp_path / "run.nwb", metadata=metadata)

    with open_output(tmp_path / "run.nwb") as output:
        assert (output.run.simulator, output.run.seed) == ("my own", 3)


def test_a_source_is_given_in_one_way(run):
    with pytest.raises(SourceError, match="either file_paths or folder_path"):
        SonataInterface()
    with pytest.raises(SourceError, match="either file_paths or folder_path"):
        SonataInterface(file_paths=[run / "v.h5"], folder_path=run)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (NeuronvisioInterface, "Neuronvisio"),
        (PymodaqInterface, "PyMoDAQ"),
        (AnnarchyInterface, "ANNarchy"),
    ],
)
def test_a_file_of_another_format_is_refused(kind, name, run):
    with pytest.raises(SourceError, match=f"v.h5 is not a file of {name}"):
        kind(run / "v.h5")
