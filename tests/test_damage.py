"""Errors of libraries become errors of this package, and no damage to a file is a traceback."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from ndx_simulation_output import StorageOptions, convert, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import (
    ConfigurationError,
    MissingDependencyError,
    RecordingError,
    ShapeMismatchError,
    SourceError,
    UnitWarning,
    UnsupportedSourceError,
    WriteError,
    callers_errors,
    file_errors,
    source_errors,
)
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.recording import ArrayGroup, ArrayWithAxes, SimulationOutput
from tests.fuzzing.inputs import KINDS
from tests.sonata.making import SESSION, report


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("bad heap"), "bad heap"),
        (ValueError("two\n  lines"), "two lines"),
        (KeyError("data"), "KeyError: 'data'"),
        (AssertionError(), "AssertionError: "),
        (MemoryError("8 GiB"), "there is not enough memory (8 GiB)"),
        (RuntimeError("x" * 1000), f"{'x' * 400}…"),
        (RecursionError("maximum depth"), "maximum depth"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "'utf-8' codec can't decode"),
    ],
)
def test_an_error_of_a_library_becomes_one_line_and_stays_the_cause(error, reason):
    with (
        pytest.raises(ConfigurationError) as caught,
        source_errors("a.json cannot be read", ConfigurationError),
    ):
        raise error

    assert str(caught.value).startswith(f"a.json cannot be read: {reason}")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [UnitWarning("unit"), MissingDependencyError("scipy"), KeyboardInterrupt()]
)
def test_warnings_missing_libraries_and_interruptions_are_not_those_of_a_file(error):
    with pytest.raises(type(error)) as caught, file_errors("a.h5"):
        raise error

    assert caught.value is error


def test_an_error_of_a_function_of_the_caller_is_not_that_of_a_file():
    error = OSError("pipe")
    with pytest.raises(OSError, match="pipe") as caught, file_errors("a.h5"), callers_errors():
        raise error

    assert not isinstance(caught.value, SourceError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ShapeMismatchError("3 ids"), ShapeMismatchError),
        (UnsupportedSourceError("3 ids"), UnsupportedSourceError),
        (RecordingError("3 ids"), SourceError),
    ],
)
def test_errors_about_a_file_name_it(error, kind):
    with pytest.raises(kind, match=r"^dir/a\.h5: 3 ids$"), file_errors("dir/a.h5"):
        raise error
    named = type(error)("data of a.h5")
    with pytest.raises(kind, match=r"^data of a\.h5$"), file_errors("dir/a.h5"):
        raise named


def test_an_exception_of_progress_is_raised_as_it_is(tmp_path: Path):
    def progress(*_):
        msg = "cancelled"
        raise LookupError(msg)

    source = report().write(tmp_path / "v.h5")
    with pytest.raises(LookupError, match=r"^cancelled$"):
        convert(source, tmp_path / "run.nwb", metadata=SESSION, progress=progress)

    assert list(tmp_path.iterdir()) == [source]


@pytest.fixture
def nwb(tmp_path: Path) -> Path:
    convert(report().write(tmp_path / "v.h5"), tmp_path / "run.nwb", metadata=SESSION)
    return tmp_path / "run.nwb"


def _of_other_type(file: h5py.File) -> None:
    del file["general/simulation/compartments/id"]
    file["general/simulation/compartments/id"] = np.array([b"a", b"b"])


def _of_no_text(file: h5py.File) -> None:
    file["acquisition/v"].attrs["description"] = np.bytes_(b"\xff\xfe")


def _dangling(file: h5py.File) -> None:
    del file["acquisition/v/compartments"]
    file["acquisition/v/compartments"] = h5py.SoftLink("/nowhere")


def _cyclic(file: h5py.File) -> None:
    file["acquisition/v/again"] = file["acquisition"]


def _no_checksum(file: h5py.File) -> None:
    """Write a chunk that is shorter than its checksum, for which HDF5 crashes."""
    options = {"chunks": (4,), "fletcher32": True}
    data = file.create_dataset("acquisition/more", data=np.arange(8.0), **options)
    data.id.write_direct_chunk((4,), b"\0")


def _no_schema(file: h5py.File) -> None:
    del file["specifications/core"]


DAMAGES = {
    "type": _of_other_type,
    "text": _of_no_text,
    "dangling": _dangling,
    "cyclic": _cyclic,
    "no schema": _no_schema,
    "no checksum": _no_checksum,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", DAMAGES)
def test_no_command_shows_a_traceback_for_a_damaged_file(damage, nwb: Path, tmp_path: Path):
    with h5py.File(nwb, "r+") as file:
        DAMAGES[damage](file)
    (tmp_path / "out").mkdir()
    commands = {
        "info": (nwb,),
        "check": (nwb,),
        "convert": (nwb, tmp_path / "out" / "copy.nwb"),
        "export": (nwb, tmp_path / "out" / "sonata"),
        "plot": (nwb, "-o", tmp_path / "out" / "picture.png"),
    }
    for command, arguments in commands.items():
        result = CliRunner().invoke(main, [command, *map(str, arguments)])

        assert isinstance(result.exception, SystemExit | None), command
        if result.exit_code and (command != "check" or "error: " not in result.output):
            assert result.output.startswith("error: ")
            assert result.output.count("\n") == 1


def test_what_is_read_later_names_file_and_dataset(tmp_path: Path):
    source = report(rows=40, time=(0.0, 4.0, 0.1))
    source.storage["report/pop/data"] = {"chunks": (8, 3), "compression": "gzip"}
    source.write(tmp_path / "v.h5")
    with h5py.File(tmp_path / "v.h5", "r+") as file:
        file["report/pop/data"].id.write_direct_chunk((8, 0), b"no zlib")

    with (
        open_output(tmp_path / "v.h5") as output,
        pytest.raises(
            SourceError, match=r"cannot read rows \d+ to \d+ of report/pop/data of v\.h5"
        ),
    ):
        output["v"].get_traces()


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (
            ValueError("bad chunk"),
            WriteError,
            r"^cannot write .*run\.nwb: .* v: bad chunk$",
        ),
        (SourceError("v.h5 has changed"), SourceError, r"^v\.h5 has changed$"),
    ],
)
def test_a_target_that_a_library_cannot_write_is_named(
    cause, kind, message, tmp_path: Path, monkeypatch
):
    def write(*_):
        msg = "Could not create dataset v"
        raise Exception(msg) from cause  # noqa: TRY002 - as hdmf does

    monkeypatch.setattr("pynwb.NWBHDF5IO.write", write)
    source = report().write(tmp_path / "v.h5")
    with pytest.raises(kind, match=message):
        convert(source, tmp_path / "run.nwb", metadata=SESSION)

    assert list(tmp_path.iterdir()) == [source]


def _lazy_arrays(item: Any) -> Iterator[Any]:
    if hasattr(item, "shape") and not isinstance(item, np.ndarray):
        yield item
    elif dataclasses.is_dataclass(item):
        for field in dataclasses.fields(item):
            yield from _lazy_arrays(getattr(item, field.name, None))
    elif isinstance(item, (tuple, list, dict)):
        for inside in item.values() if isinstance(item, dict) else item:
            yield from _lazy_arrays(inside)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["NWB, arrays", "NWB, network state", "Neuronvisio", "PyMoDAQ"])
def test_any_array_of_a_closed_file_says_that_it_is_closed(name, tmp_path: Path):
    kind = next(kind for kind in KINDS if kind.name == name)
    kind.make(tmp_path)
    if "NWB" not in name:  # References to objects would be lost.
        _set_byte_order(tmp_path / kind.source)
    with open_output(tmp_path / kind.source) as output:
        arrays = [array for array in _lazy_arrays(output) if 0 not in array.shape]
        for array in arrays:
            np.asarray(array[...])

    assert arrays
    for array in arrays:
        with pytest.raises(SourceError, match=r"source\.\w+ is closed: .*; open it again"):
            array[...]


def _set_byte_order(path: Path) -> None:
    """Store each second dataset of numbers in the byte order of other processors."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        numbers = [name for name in names if getattr(file[name], "dtype", None) == "f8"]
        for name in numbers[::2]:
            values, attributes = file[name][()], dict(file[name].attrs)
            del file[name]
            file.create_dataset(name, data=values, dtype=">f8").attrs.update(attributes)


@pytest.mark.parametrize("damage", [bytes(16), b"\xff" * 16])
def test_a_heap_that_hdf5_reads_forever_is_refused(damage, tmp_path: Path):
    source = report().write(tmp_path / "v.h5")
    with h5py.File(source, "r+") as file:
        file.attrs["note"] = "text"
    data = bytearray(source.read_bytes())
    start = data.index(b"GCOL")
    data[start + 40 : start + 56] = damage
    source.write_bytes(data)

    with pytest.raises(SourceError, match=r"v\.h5 is damaged: the heap at byte \d+ has an object"):
        open_output(source)


@pytest.mark.parametrize("shape", [(0,), (0, 3), ()])
@pytest.mark.parametrize("dtype", ["f8", object])
def test_an_empty_array_is_compressed_and_a_single_value_is_kept(dtype, shape, tmp_path: Path):
    values = np.full(shape, "x" if dtype is object else 1, dtype)
    group = ArrayGroup("g", arrays=(ArrayWithAxes("a", values),))
    options = StorageOptions(compression="gzip")
    convert(
        SimulationOutput(arrays=(group,)), tmp_path / "r.nwb", metadata=SESSION, storage=options
    )

    with open_output(tmp_path / "r.nwb") as output:
        found = output.arrays[0].arrays[0].values[...]
        np.testing.assert_array_equal(found, np.atleast_1d(values) if dtype is object else values)


@pytest.mark.filterwarnings("ignore")
def test_a_check_that_fails_is_a_finding_beside_the_others(nwb: Path):
    with h5py.File(nwb, "r+") as file:
        _no_schema(file)
        del file["acquisition/v/compartments"]
    found = {(finding.rule, finding.severity): finding.message for finding in check_file(nwb)}

    assert "cannot be checked: Could not load namespace 'core'" in found["schema", "error"]
    assert "no table of compartments" in found["check_has_table", "warning"]
    assert all(message.count("\n") == 0 for message in found.values())


def test_damaged_files_of_every_kind_are_read_right_or_refused_clearly(tmp_path: Path):
    """A small part of what ``tests/fuzz.py`` does; the gate runs more."""
    fuzz = Path(__file__).with_name("fuzz.py")
    kinds = ["SONATA", "text", "NWB, gzip", "ANNarchy", "Neuronvisio", "PyMoDAQ"]
    options = [part for kind in kinds for part in ("--kind", kind)]

    done = subprocess.run(
        [sys.executable, fuzz, "--mutations", "2", "--kept", tmp_path, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "| all |" in done.stdout
