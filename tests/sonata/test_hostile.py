"""Broken sources and full disks are errors that name the place, and leave no files."""

import json
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import SimulationOutputError, convert, export_sonata, open_output
from ndx_simulation_output.errors import (
    ConfigurationError,
    ExportError,
    SelectionError,
    SourceError,
    TargetExistsError,
    WriteError,
)
from tests.sonata import circuits
from tests.sonata.making import SESSION, File, changed, ecp, report, spikes

# Warnings may come before the error; that they are right is tested elsewhere.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ndx_simulation_output.errors.SimulationOutputWarning"
)


def _refused(source: Any, directory: Path, match: str, **options: Any) -> SimulationOutputError:
    """Convert, and expect a SimulationOutputError and no target."""
    target = directory / "target" / "out.nwb"
    target.parent.mkdir()

    with pytest.raises(SimulationOutputError, match=match) as caught:
        convert(source, target, **{"metadata": SESSION, **options})

    assert list(target.parent.iterdir()) == []
    return caught.value


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    _refused(tmp_path / "v.h5", tmp_path, r"v\.h5 does not exist")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "v.h5").touch()

    _refused(tmp_path / "v.h5", tmp_path, r"v\.h5 is not an HDF5 file")


def test_a_file_that_is_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "v.h5").write_bytes(b"\x00\x01" * 5000)

    _refused(tmp_path / "v.h5", tmp_path, r"v\.h5 is not an HDF5 file")


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_file(part: float, tmp_path: Path) -> None:
    source = report(rows=2000, time=(0.0, 200.0, 0.1)).write(tmp_path / "v.h5")
    whole = source.read_bytes()
    source.write_bytes(whole[: int(len(whole) * part)])

    _refused(source, tmp_path, r"v\.h5 is truncated")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    source = report().write(tmp_path / "v.h5")
    source.chmod(0)
    try:
        source.open().close()
    except PermissionError:
        _refused(source, tmp_path, r"v\.h5 cannot be read")
    else:
        pytest.skip("this user may read everything")


def test_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    _refused(tmp_path / "run", tmp_path, r"run: no file with recorded activity was found")


def test_no_source_at_all(tmp_path: Path) -> None:
    _refused([], tmp_path, "no file with recorded activity was found")


MAPPING = "report/pop/mapping"


@pytest.mark.parametrize(
    "name", ["data", "mapping/node_ids", "mapping/index_pointers", "mapping/element_ids", "mapping"]
)
def test_a_report_that_lacks_a_part(name: str, tmp_path: Path) -> None:
    source = report().write(tmp_path / "v.h5")
    with h5py.File(source, "r+") as file:
        del file[f"report/pop/{name}"]

    _refused(
        source, tmp_path, rf"report/pop.* of v\.h5 has no (\w+ )*{name.rsplit('/', maxsplit=1)[-1]}"
    )


@pytest.mark.parametrize(
    "name",
    [
        "report/pop/data",
        f"{MAPPING}/node_ids",
        f"{MAPPING}/index_pointers",
        f"{MAPPING}/element_ids",
        f"{MAPPING}/element_pos",
        f"{MAPPING}/time",
        "spikes/pop/node_ids",
        "spikes/pop/timestamps",
        "ecp/data",
        "ecp/channel_id",
        "ecp/time",
    ],
)
@pytest.mark.parametrize(
    "what", ["group", "dangling", "cyclic", "scalar", "null", "text", "cube", "compound"]
)
def test_something_else_where_a_dataset_is_expected(name: str, what: str, tmp_path: Path) -> None:
    kind = name.split("/", maxsplit=1)[0]
    files = {"report": report(), "spikes": spikes(), "ecp": ecp(np.zeros((5, 2)))}
    file = files[kind] | File({name: np.zeros(3)})
    source = file.write(tmp_path / "v.h5")
    things: dict[str, Any] = {
        "dangling": h5py.SoftLink("/nowhere"),
        "cyclic": h5py.SoftLink(f"/{name}"),
        "scalar": 3.0,
        "null": h5py.Empty("f8"),
        "text": np.asarray([b"a", b"b", b"c"]),
        "cube": np.zeros((3, 3, 3)),
        "compound": np.zeros(3, [("a", "i4"), ("b", "f4")]),
    }
    with h5py.File(source, "r+") as hdf5:
        del hdf5[name]
        if what == "group":
            hdf5.create_group(name)
        else:
            hdf5[name] = things[what]
    place = name.rsplit("/", 1)[0]
    element_pos_is_optional = name.endswith("element_pos") and what in {"dangling", "cyclic"}
    if element_pos_is_optional:
        pytest.skip("a link to nothing is as good as no positions")

    _refused(source, tmp_path, rf"{place}.* of v\.h5")


@pytest.mark.parametrize(
    "name",
    ["report", "report/pop", MAPPING, "spikes", "spikes/pop", "ecp", "processing", "processing/t"],
)
def test_a_dataset_where_a_group_is_expected(name: str, tmp_path: Path) -> None:
    source = File({name: np.zeros(3)}).write(tmp_path / "v.h5")

    _refused(
        source,
        tmp_path,
        rf"{name.split('/', maxsplit=1)[0]}.* of v\.h5|v\.h5.*{name.split('/', maxsplit=1)[0]}",
    )


@pytest.mark.parametrize("name", ["mapping", "v"])
def test_a_dataset_where_an_old_file_has_a_group(name: str, tmp_path: Path) -> None:
    file = File(groups=["mapping"]) if name == "v" else File({"v/data": np.zeros(3)})

    source = (file | File({name: np.zeros(3)})).write(tmp_path / "v.h5")

    _refused(source, tmp_path, r"v\.h5")


@pytest.mark.parametrize(
    "name", [f"{MAPPING}/node_ids", f"{MAPPING}/element_ids", "spikes/pop/node_ids"]
)
@pytest.mark.parametrize("values", [[np.nan, 1.0, 2.0], [np.inf, 1.0, 2.0], [1e30, 1.0, 2.0]])
def test_ids_that_are_not_integers(name: str, values: list[float], tmp_path: Path) -> None:
    file = report([4, 1, 9], [1, 1, 1]) if name.startswith("report") else spikes()
    source = changed(file.write(tmp_path / "v.h5"), **{name.replace("/", "__"): values})

    _refused(source, tmp_path, rf"{name} of v\.h5 has the value .*expected integers")


@pytest.mark.parametrize(
    "name",
    [f"{MAPPING}/node_ids", f"{MAPPING}/element_ids", "spikes/pop/node_ids", "ecp/channel_id"],
)
@pytest.mark.parametrize("largest", [2**63, 2**64 - 2])
def test_ids_that_would_become_negative(name: str, largest: int, tmp_path: Path) -> None:
    file = report([4, 1, 9], [1, 1, 1]) | spikes() | ecp(np.zeros((3, 3)), channels=(0, 1, 2))
    values = np.array([largest, 1, 2], np.uint64)
    source = changed(file.write(tmp_path / "v.h5"), **{name.replace("/", "__"): values})

    _refused(source, tmp_path, rf"{name} of v\.h5 has the id {largest}; expected ids from .* to 2")


@pytest.mark.parametrize("cell", [-1, 2**63])
def test_ids_of_spikes_in_text_that_are_not_ids(cell: int, tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text(f"timestamps population node_ids\n0.5 pop {cell}\n")

    _refused(source, tmp_path, "spikes.csv (has the negative id -1|.*too large)")


@pytest.mark.parametrize(
    ("pointers", "match"),
    [
        ([0, 2], None),
        ([0], r"index_pointers of v\.h5 has 1 values for 2 node ids"),
        ([0, 1, 2, 3], r"index_pointers of v\.h5 has 4 values for 2 node ids"),
        (
            [0, 3, 2],
            r"index_pointers of v\.h5 points outside the 3 columns of the data or descends",
        ),
        ([0, 2, 9], r"index_pointers of v\.h5 points outside the 3 columns"),
        ([0, 9], r"index_pointers of v\.h5 points outside the 3 columns"),
        ([-1, 2, 3], r"index_pointers of v\.h5 points outside the 3 columns"),
        ([2, 1, 3], r"index_pointers of v\.h5 points outside the 3 columns"),
    ],
)
def test_pointers_outside_the_data(pointers: list[int], match: str | None, tmp_path: Path) -> None:
    source = report(index_pointers=np.asarray(pointers)).write(tmp_path / "v.h5")

    if match is None:
        convert(source, tmp_path / "out.nwb", metadata=SESSION)
    else:
        _refused(source, tmp_path, match)


def test_columns_that_two_cells_claim(tmp_path: Path) -> None:
    source = report([4, 1], [2, 1], index_pointers=np.asarray([1, 1])).write(tmp_path / "v.h5")

    convert(source, tmp_path / "out.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        assert io.read().acquisition["v"].data.shape == (3, 2)


@pytest.mark.parametrize(
    "triple",
    [
        (0.0, 1.0, 0.0),
        (0.0, 1.0, -0.1),
        (0.0, 1.0, np.nan),
        (np.nan, 1.0, 0.1),
        (np.inf, 1.0, 0.1),
        (0.0, 1.0, np.inf),
        (0.0, 1.0, 1e-320),
    ],
)
@pytest.mark.parametrize("kind", ["report", "ecp"])
def test_a_time_that_does_not_step(
    kind: str, triple: tuple[float, float, float], tmp_path: Path
) -> None:
    files = {"report": report(time=triple), "ecp": ecp(np.zeros((5, 2)), time=triple)}
    source = files[kind].write(tmp_path / "v.h5")

    _refused(source, tmp_path, r"time of v\.h5 has start .* and step .*; expected a finite start")


@pytest.mark.parametrize("stop", [np.nan, np.inf, -np.inf])
def test_a_stop_time_that_is_not_finite_is_ignored(stop: float, tmp_path: Path) -> None:
    source = report(time=(0.0, stop, 0.1)).write(tmp_path / "v.h5")

    convert(source, tmp_path / "out.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        assert io.read().acquisition["v"].rate == 10000.0


@pytest.mark.parametrize("times", [(0.0, 0.1), (0.0, 0.1, 0.2, 0.3, 0.4)])
def test_times_of_another_length(times: tuple[float, ...], tmp_path: Path) -> None:
    source = report(rows=4, time=times).write(tmp_path / "v.h5")

    _refused(source, tmp_path, rf"mapping/time of v\.h5 has {len(times)} values; expected \(start")


@pytest.mark.parametrize("times", [(0.0, 0.2, 0.1, 0.3), (0.0, np.nan, 0.2, 0.3)])
def test_times_that_do_not_ascend(times: tuple[float, ...], tmp_path: Path) -> None:
    source = report(rows=4, time=times).write(tmp_path / "v.h5")

    _refused(source, tmp_path, r"mapping/time of v\.h5 does not ascend")


def test_a_time_step_that_is_none(tmp_path: Path) -> None:
    source = report(time=None).write(tmp_path / "v.h5")

    _refused(source, tmp_path, r"v\.h5 has start 0\.0 and step -0\.1; expected", dt=-0.1)


@pytest.mark.parametrize("length", [2, 4])
def test_positions_of_another_length(length: int, tmp_path: Path) -> None:
    source = report(element_pos=np.zeros(length)).write(tmp_path / "v.h5")

    _refused(source, tmp_path, rf"mapping/element_pos of v\.h5 has {length} values")


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    names = np.asarray([b"\xe4pex", b"b", b"c"])
    source = report(label=names).write(tmp_path / "v.h5")

    _refused(source, tmp_path, r"mapping/label of v\.h5")


def _spoil(path: Path, name: str) -> None:
    """Overwrite the first chunk of a compressed dataset."""
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)


@pytest.mark.parametrize(
    "name",
    [
        "report/pop/data",
        f"{MAPPING}/node_ids",
        f"{MAPPING}/index_pointers",
        f"{MAPPING}/element_ids",
        f"{MAPPING}/time",
        "spikes/pop/node_ids",
        "spikes/pop/timestamps",
    ],
)
def test_a_chunk_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    file = report() | spikes()
    file.storage[name] = {"compression": "gzip", "chunks": True}
    source = file.write(tmp_path / "v.h5")
    _spoil(source, name)

    _refused(source, tmp_path, rf"{name} of v\.h5")


def test_an_external_file_that_is_gone(tmp_path: Path) -> None:
    source = report().write(tmp_path / "v.h5")
    with h5py.File(source, "r+") as file:
        del file["report/pop/data"]
        file["report/pop/data"] = h5py.ExternalLink("gone.h5", "/data")

    _refused(source, tmp_path, r"data in report/pop of v\.h5 cannot be opened")


def test_a_configuration_that_is_not_json(tmp_path: Path) -> None:
    source = tmp_path / "simulation_config.json"
    source.write_text("{output:")

    error = _refused(source, tmp_path, r"simulation_config\.json cannot be read as JSON")

    assert isinstance(error, ConfigurationError)


def test_a_configuration_that_is_no_text(tmp_path: Path) -> None:
    source = tmp_path / "simulation_config.json"
    source.write_bytes(b"\xff\xfe\x00\x01")

    _refused(source, tmp_path, r"simulation_config\.json cannot be read as JSON")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"reports"'])
def test_a_configuration_that_is_no_object(text: str, tmp_path: Path) -> None:
    source = tmp_path / "simulation_config.json"
    source.write_text(text)

    _refused(source, tmp_path, r"simulation_config\.json contains a JSON \w+; expected an object")


def test_a_configuration_of_something_else(tmp_path: Path) -> None:
    source = tmp_path / "circuit_config.json"
    source.write_text('{"networks": {}}')

    _refused(source, tmp_path, r"circuit_config\.json names no existing file of nodes")

    source.write_text('{"nothing": {}}')
    with pytest.raises(SourceError, match="has none of the keys output, reports, run"):
        open_output(source)


def test_a_configuration_that_leads_back_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"simulation": "b.json"}')
    (tmp_path / "b.json").write_text('{"simulation": "a.json"}')

    error = _refused(tmp_path / "a.json", tmp_path, r"a\.json")

    assert isinstance(error, ConfigurationError)


def test_a_configuration_whose_simulation_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"simulation": "b.json"}')

    _refused(tmp_path / "a.json", tmp_path, r"b\.json cannot be read as JSON")


@pytest.mark.parametrize(
    "config",
    [
        {"output": 3, "reports": []},
        {"output": {"output_dir": 3, "spikes_file": None}, "reports": {"v": 5}},
        {"output": {}, "reports": {"v": {"file_name": 3, "variable_name": {"a": 1}}}},
        {"output": {}, "manifest": [1], "run": "long", "conditions": 3},
        {"output": {"output_dir": "$A"}, "manifest": {"$A": "$B", "$B": "$A"}},
        {"reports": {"v": {"unit": 3, "enabled": "no", "electrode_positions": 5}}},
        {"output": {"output_dir": "nul\0"}},
    ],
)
def test_a_configuration_with_unexpected_types_names_no_file(
    config: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "simulation_config.json"
    source.write_text(json.dumps(config))

    _refused(source, tmp_path, "no file with recorded activity was found")


def test_a_broken_file_in_a_directory_stops_the_conversion(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    report().write(run / "a.h5")
    (run / "b.h5").write_bytes(b"nothing")

    _refused(run, tmp_path, r"b\.h5 is not an HDF5 file")


def test_an_existing_target_is_refused_and_untouched(tmp_path: Path) -> None:
    target = tmp_path / "out.nwb"
    target.write_text("precious")

    with pytest.raises(TargetExistsError, match=r"out\.nwb exists already; pass overwrite=True"):
        convert(report().write(tmp_path / "v.h5"), target, metadata=SESSION)

    assert target.read_text() == "precious"


def test_an_existing_target_survives_a_failed_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "out.nwb"
    target.write_text("precious")
    file = report()
    file.storage["report/pop/data"] = {"compression": "gzip", "chunks": True}
    source = file.write(tmp_path / "v.h5")
    _spoil(source, "report/pop/data")

    with pytest.raises(SourceError):
        convert(source, target, metadata=SESSION, overwrite=True)

    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.nwb", "v.h5"]


def test_an_existing_target_is_replaced_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "out.nwb"
    target.write_text("old")

    convert(report().write(tmp_path / "v.h5"), target, metadata=SESSION, overwrite=True)

    assert h5py.is_hdf5(target)


def test_a_directory_as_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetExistsError, match="is a directory; expected the name of a file"):
        convert(report().write(tmp_path / "v.h5"), tmp_path, metadata=SESSION, overwrite=True)


def test_a_target_in_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"the directory .*nowhere does not exist"):
        convert(report().write(tmp_path / "v.h5"), tmp_path / "nowhere" / "o.nwb", metadata=SESSION)


def test_a_source_is_never_its_own_target(tmp_path: Path) -> None:
    source = spikes().write(tmp_path / "s.h5")
    before = source.read_bytes()

    with pytest.raises(SimulationOutputError, match=r"s\.h5"):
        convert(source, source, metadata=SESSION, overwrite=True)

    assert source.read_bytes() == before


def _interrupting(error: type[BaseException]) -> Callable[..., object]:
    def progress(*_: int) -> None:
        raise error

    return progress


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_conversion_leaves_nothing(
    error: type[BaseException], tmp_path: Path
) -> None:
    source = report().write(tmp_path / "v.h5")

    with pytest.raises(error):
        convert(source, tmp_path / "out.nwb", metadata=SESSION, progress=_interrupting(error))

    assert [path.name for path in tmp_path.iterdir()] == ["v.h5"]


def test_an_interrupted_overwrite_leaves_the_old_file(tmp_path: Path) -> None:
    source = report().write(tmp_path / "v.h5")
    convert(source, tmp_path / "out.nwb", metadata=SESSION)
    before = (tmp_path / "out.nwb").read_bytes()

    with pytest.raises(KeyboardInterrupt):
        convert(
            source,
            tmp_path / "out.nwb",
            metadata=SESSION,
            overwrite=True,
            progress=_interrupting(KeyboardInterrupt),
        )

    assert (tmp_path / "out.nwb").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.nwb", "v.h5"]


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    convert(report().write(tmp_path / "v.h5"), tmp_path / "out.nwb", metadata=SESSION)

    with pytest.raises(KeyboardInterrupt):
        export_sonata(
            tmp_path / "out.nwb", tmp_path / "back", progress=_interrupting(KeyboardInterrupt)
        )

    assert not (tmp_path / "back").exists()


def test_an_export_does_not_replace_files_unless_asked(tmp_path: Path) -> None:
    convert(report().write(tmp_path / "v.h5"), tmp_path / "out.nwb", metadata=SESSION)
    export_sonata(tmp_path / "out.nwb", tmp_path / "back")

    with pytest.raises(TargetExistsError, match=r"v\.h5 exists already"):
        export_sonata(tmp_path / "out.nwb", tmp_path / "back")

    export_sonata(tmp_path / "out.nwb", tmp_path / "back", overwrite=True)


_FULL = """
    import resource, sys, warnings
    from pathlib import Path
    from ndx_simulation_output import convert, export_sonata
    from ndx_simulation_output.errors import WriteError

    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    warnings.simplefilter("ignore")
    try:
        {call}
    except WriteError as error:
        print(error, flush=True)
"""


def _with_full_disk(call: str, limit: int, directory: Path) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(_FULL).format(call=call)
    return subprocess.run(
        [sys.executable, "-c", program, str(limit)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="file sizes cannot be limited")
@pytest.mark.parametrize("limit", [4_000, 100_000, 2_000_000])
def test_a_full_disk_stops_a_conversion_with_an_error_and_leaves_nothing(
    limit: int, tmp_path: Path
) -> None:
    data = np.random.default_rng(1).normal(size=(200_000, 3)).astype(np.float32)
    report(data=data, time=(0.0, 20_000.0, 0.1)).write(tmp_path / "v.h5")
    call = f'convert("v.h5", "out.nwb", metadata={SESSION!r})'

    done = _with_full_disk(call, limit, tmp_path)

    assert done.stdout.startswith("cannot write out.nwb: "), done.stderr[-500:]
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["v.h5"]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="file sizes cannot be limited")
@pytest.mark.parametrize("limit", [1_000, 1_000_000])
def test_a_full_disk_stops_an_export_with_an_error_and_leaves_nothing(
    limit: int, tmp_path: Path
) -> None:
    data = np.random.default_rng(1).normal(size=(200_000, 3)).astype(np.float32)
    report(data=data, time=(0.0, 20_000.0, 0.1)).write(tmp_path / "v.h5")
    convert(tmp_path / "v.h5", tmp_path / "out.nwb", metadata=SESSION)

    done = _with_full_disk('export_sonata("out.nwb", "back")', limit, tmp_path)

    assert done.stdout.startswith("cannot write back"), done.stderr[-500:]
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert not (tmp_path / "back").exists()


def _with_provenance(directory: Path, change: Any) -> Path:
    """Convert a report and spikes, then change the provenance in the NWB file."""
    path = directory / "o.nwb"
    convert((report() | spikes()).write(directory / "v.h5"), path, metadata=SESSION)
    with h5py.File(path, "r+") as file:
        dataset = file["general/simulation/provenance"]
        facts = json.loads(dataset[()])
        dataset[()] = json.dumps(change(facts))
    return path


@pytest.mark.parametrize(
    "damaged",
    [[1], "x", {"series": [1]}, {"series": {"v": 3}}, {"spikes": "x"}, {"spikes": [{}]}],
    ids=str,
)
def test_provenance_that_is_not_ours_is_an_error_that_names_it(
    damaged: Any, tmp_path: Path
) -> None:
    path = _with_provenance(tmp_path, lambda _: damaged)

    with pytest.raises(SourceError, match=r"provenance of .*o\.nwb is damaged"):
        export_sonata(path, tmp_path / "back")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attributes", 3),
        ("attributes", {"data": {"units": {"dtype": "zz", "value": 1}}}),
        ("columns", 3),
        ("dialect", "x"),
        ("dtypes", [1]),
        ("dtypes", {"data": "zz"}),
        ("entries", {"node_ids": [1]}),
        ("file", 5),
        ("root", "../.."),
        ("time", ["a"]),
    ],
)
def test_damaged_provenance_of_a_report_is_an_error_and_nothing_is_written(
    key: str, value: Any, tmp_path: Path
) -> None:
    def change(facts: Any) -> Any:
        facts["series"]["v"][key] = value
        return facts

    path = _with_provenance(tmp_path, change)

    with pytest.raises(ExportError, match=f"provenance of v has the {key}"):
        export_sonata(path, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_time_that_no_longer_holds_is_written_anew(tmp_path: Path) -> None:
    def change(facts: Any) -> Any:
        facts["series"]["v"]["time"] = [0, 0, 0]
        return facts

    export_sonata(_with_provenance(tmp_path, change), tmp_path / "back")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        assert back["report/pop/mapping/time"][:].tolist() == pytest.approx([0.0, 0.3, 0.1])


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"run": {}, "reports": {str(number): {} for number in range(20_000)}}, "names 20000"),
        ({"run": {}, "output": {"spikes_file": ["a.h5"] * 20_000}}, "names 20001"),
        (
            {
                "run": {},
                "manifest": {f"${n}": f"${n + 1}/${n + 1}" for n in range(60)},
                "output": {"spikes_file": "$0"},
            },
            "a name has more than 10000 characters",
        ),
    ],
)
def test_a_small_configuration_that_stands_for_a_huge_one_is_refused(
    config: dict[str, Any], match: str, tmp_path: Path
) -> None:
    path = tmp_path / "simulation_config.json"
    path.write_text(json.dumps(config), encoding="utf-8")

    _refused(path, tmp_path, match)


def test_aliases_of_metadata_that_stand_for_a_billion_values_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "laughs.yaml"
    path.write_text("\n".join(["NWBFile:", *(f"  {line}" for line in lines)]), encoding="utf-8")

    _refused(report().write(tmp_path / "v.h5"), tmp_path, "aliases stand for", metadata=path)


def _changed_json(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        config = json.loads((run / name).read_text(encoding="utf-8"))
        change(config)
        (run / name).write_text(json.dumps(config), encoding="utf-8")

    return damage


def _huge_library(run: Path) -> None:
    with h5py.File(run / "network" / "nodes.h5", "r+") as file:
        del file["nodes/cortex/0/@library/mtype"]
        kept = {"shape": (2**20 + 1,), "dtype": h5py.string_dtype(), "chunks": (8,)}
        file.create_dataset("nodes/cortex/0/@library/mtype", **kept)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (
            _changed_json(
                "circuit_config.json", lambda c: c["manifest"].update({"$BASE_DIR": "$BASE_DIR"})
            ),
            "does not exist",
        ),
        (
            _changed_json(
                "circuit_config.json",
                lambda c: c["networks"].update(nodes=c["networks"]["nodes"] * 2),
            ),
            "population 'cortex' is in two files of nodes",
        ),
        (
            lambda run: (run / "node_sets.json").write_text('{"a": ' * 100_000),
            r"node_sets\.json cannot be read as JSON: maximum recursion",
        ),
        (_huge_library, "has 1048577 entries; expected at most"),
    ],
)
def test_a_damaged_circuit_is_refused_unless_it_is_ignored(
    damage: Callable[[Path], object], match: str, tmp_path: Path
) -> None:
    config = circuits.write_run(tmp_path / "run", "bbp")
    damage(tmp_path / "run")

    error = _refused(config, tmp_path, match, nodes=True)

    assert "\n" not in str(error)
    with open_output(config, nodes=False) as output:
        assert output.circuit is None


def test_node_sets_that_contain_themselves_are_refused(tmp_path: Path) -> None:
    config = circuits.write_run(tmp_path, "bbp")
    sets = {"a": ["b"], "b": ["c"], "c": ["a"]}
    (tmp_path / "node_sets.json").write_text(json.dumps(sets), encoding="utf-8")

    with open_output(config) as output, pytest.raises(SelectionError, match="contains itself"):
        output["v"].select("a")
