"""Files of others: what they refer to, and how much they claim to hold."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output import StorageOptions, convert, export_sonata, open_output, sonata
from ndx_simulation_output.annarchy import read_recordings
from ndx_simulation_output.errors import SourceError, WriteError
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.pymodaq import H5SaverLowLevel
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.storage import datasets, sources
from ndx_simulation_output.storage.sources import open_source
from tests.sonata.making import SESSION, report

SECRET = b"root:x:0:0:root:/root:/bin/bash\n" * 4
DATA = "report/pop/data"
ZSTD, BIT_GROOM, SHUFFLE = 32015, 32022, h5py.h5z.FILTER_SHUFFLE
MILLIVOLT = {"v": "mV"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``v.h5``; beside it are files that it should not read."""
    (tmp_path / "secret").write_bytes(SECRET)
    report().write(tmp_path / "other.h5")
    inner = tmp_path / "run"
    inner.mkdir()
    report().write(inner / "v.h5")
    return inner


def external(file: h5py.File, name: str, target: str) -> None:
    """Replace a dataset by one whose bytes are in another file."""
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "<f4", external=[(target, 0, len(SECRET))])


def virtual(file: h5py.File, name: str, target: str, inner: str = DATA) -> None:
    """Replace a dataset by a virtual one."""
    shape = file[name].shape
    del file[name]
    layout = h5py.VirtualLayout(shape, "<f4")
    layout[:] = h5py.VirtualSource(target, inner, shape)
    file.create_virtual_dataset(name, layout)


def linked(file: h5py.File, name: str, target: str) -> None:
    """Replace a dataset by an external link."""
    del file[name]
    file[name] = h5py.ExternalLink(target, DATA)


WAYS = [external, virtual, linked]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spelling", ["absolute", "relative", "symbolic link", "folder that links"])
def test_files_outside_the_folder_are_not_read(
    way: Callable[..., None], spelling: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    name = "secret" if way is external else "other.h5"
    (folder / "inside").symlink_to(folder.parent / name)
    (folder / "up").symlink_to(folder.parent)
    target = {
        "absolute": str(folder.parent / name),
        "relative": f"../{name}",
        "symbolic link": "inside",
        "folder that links": f"up/{name}",
    }[spelling]
    with h5py.File("v.h5", "r+") as file:
        way(file, DATA, target)

    with pytest.raises(SourceError, match=rf"{DATA} of .*v\.h5 refers to .*trust=True \(--trust\)"):
        open_output("v.h5")

    with open_output("v.h5", unit=MILLIVOLT, trust=True) as output:
        output.reports[0].get_traces()


@pytest.mark.parametrize("way", WAYS)
def test_files_inside_the_folder_are_read(
    way: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "ranks").mkdir()
    values = report().write(folder / "ranks" / "0.h5")
    (folder / "ranks" / "0.raw").write_bytes(SECRET)
    with h5py.File("v.h5", "r+") as file:
        way(file, DATA, "ranks/0.raw" if way is external else "ranks/0.h5")

    with open_output("v.h5", unit=MILLIVOLT) as output, h5py.File(values) as other:
        found = output.reports[0].data[:, :]
        assert way is external or np.array_equal(found, other[DATA][:])


def test_a_file_inside_the_folder_that_refers_to_one_outside_is_found(folder: Path) -> None:
    report().write(folder / "middle.h5")
    with h5py.File(folder / "middle.h5", "r+") as file:
        external(file, DATA, str(folder.parent / "secret"))
    with h5py.File(folder / "v.h5", "r+") as file:
        virtual(file, DATA, "middle.h5")

    with pytest.raises(SourceError, match=r"middle\.h5 refers to .*secret"):
        open_output(folder / "v.h5")


@pytest.mark.parametrize(
    ("variable", "way"),
    [
        ("HDF5_EXT_PREFIX", linked),
        ("HDF5_VDS_PREFIX", virtual),
        ("HDF5_EXTFILE_PREFIX", external),
    ],
)
def test_variables_of_hdf5_do_not_lead_out_of_the_folder(
    variable: str, way: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "secret" if way is external else "other.h5"
    with h5py.File(folder / "v.h5", "r+") as file:
        way(file, DATA, name)
    monkeypatch.setenv(variable, str(folder.parent))

    with pytest.raises(SourceError, match=f"refers to {folder.parent / name}"):
        open_output(folder / "v.h5")


def test_numbered_sources_are_followed_as_hdf5_does(folder: Path) -> None:
    report().write(folder / "part0.h5")
    (folder / "part1.h5").symlink_to(folder.parent / "other.h5")
    with h5py.File(folder / "v.h5", "r+") as file:
        endless = (h5py.h5s.UNLIMITED,)
        space, block = (h5py.h5s.create_simple((3, 3), (*endless, 3)) for _ in range(2))
        space.select_hyperslab((0, 0), (*endless, 1), (3, 1), (3, 3))
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_virtual(space, b"part%b.h5", DATA.encode(), h5py.h5s.create_simple((3, 3)))
        h5py.h5d.create(file.id, b"all", h5py.h5t.IEEE_F32LE, block, properties)

    with pytest.raises(SourceError, match=r"refers to .*part1\.h5, outside"):
        open_source(folder / "v.h5")


def test_a_device_or_pipe_is_no_source(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with h5py.File(folder / "v.h5", "r+") as file:
        linked(file, DATA, "pipe")

    with pytest.raises(SourceError, match="pipe, which is not a file"):
        open_output(folder / "v.h5")


def test_virtual_datasets_of_one_file_work(folder: Path) -> None:
    with h5py.File(folder / "v.h5", "r+") as file:
        file.move(DATA, "hidden")
        file[DATA] = np.zeros(file["hidden"].shape, "<f4")
        virtual(file, DATA, ".", "hidden")
        expected = file["hidden"][:]

    with open_output(folder / "v.h5", unit=MILLIVOLT) as output:
        np.testing.assert_array_equal(output.reports[0].data[:, :], expected)


@pytest.mark.parametrize("target", [".", "other.h5"])
def test_a_source_without_the_dataset_is_not_read_as_zeros(target: str, folder: Path) -> None:
    report().write(folder / "other.h5")
    with h5py.File(folder / "v.h5", "r+") as file:
        del file[DATA]
        layout = h5py.VirtualLayout((3, 3), "<f4")
        for row, name in enumerate(["report/pop/mapping/time", "absent", "absent"]):
            layout[row] = h5py.VirtualSource(target, name, (3,))
        file.create_virtual_dataset(DATA, layout)

    with (
        open_output(folder / "v.h5", unit=MILLIVOLT) as output,
        pytest.raises(SourceError, match=f"{DATA} of .* is linked to absent of .*{target}"),
    ):
        output.reports[0].data[:, :]


def test_a_call_without_trust_does_not_name_it(folder: Path) -> None:
    with h5py.File(folder / "v.h5", "r+") as file:
        linked(file, DATA, "../other.h5")

    with pytest.raises(SourceError, match=r"outside the folder of that file$"):
        read_recordings(folder / "v.h5", dt=1)


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_a_virtual_dataset_that_contains_itself_does_not_crash_hdf5(
    names: list[str], tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        for name, source in zip(names, [*names[1:], "a"], strict=True):
            file[name] = np.zeros(3, "<f4")
            virtual(file, name, ".", source)

    with pytest.raises(SourceError, match="virtual dataset that contains itself"):
        open_source(tmp_path / "v.h5")


def test_nwb_files_are_checked_before_pynwb_follows_their_links(folder: Path) -> None:
    path = convert(folder / "v.h5", folder / "v.nwb", metadata=SESSION).path
    with h5py.File(path, "r+") as file:
        file["acquisition/more"] = h5py.ExternalLink("../other.h5", "report")
    calls: list[Callable[[], Any]] = [
        lambda: open_output(path),
        lambda: open_output([path, path]),
        lambda: convert(path, folder / "again.nwb"),
        lambda: export_sonata(path, folder / "sonata"),
        lambda: check_file(path),
    ]

    for call in calls:
        with pytest.raises(SourceError, match=r"acquisition/more of .* refers to .*other\.h5"):
            call()

    assert {item.name for item in folder.iterdir()} == {"v.h5", "v.nwb"}


def test_a_saver_does_not_add_to_a_file_that_refers_elsewhere(folder: Path) -> None:
    path = convert(folder / "v.h5", folder / "v.nwb", metadata=SESSION).path
    with h5py.File(path, "r+") as file:
        external(file, "acquisition/v/data", str(folder.parent / "secret"))
    before = path.read_bytes()

    with pytest.raises(SourceError, match=rf"data of {path} refers to .*secret, .* that file$"):
        H5SaverLowLevel().init_file(path)

    assert path.read_bytes() == before
    assert {item.name for item in folder.iterdir()} == {"v.h5", "v.nwb"}


def declared(file: h5py.File, name: str, shape: tuple[int, ...], **options: Any) -> None:
    """Replace a dataset by one without values."""
    if name in file:
        options = {"dtype": file.pop(name).dtype, **options}
    file.create_dataset(name, shape, **options)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        (DATA, (2**40, 3), {"chunks": (64, 3)}),
        (DATA, (2**40, 3), {}),
        ("magic", (), {"dtype": "S200000000"}),
        (DATA, (2**40, 3), {"chunks": (64, 3), "compression": "gzip"}),
        ("report/pop/mapping/node_ids", (2**38,), {"chunks": (64,)}),
        ("report/pop/mapping/element_ids", (2**27,), {"chunks": (64,)}),
        (DATA, (3, 3), {"chunks": (2**20, 512), "maxshape": (None, None)}),
    ],
)
def test_shapes_without_storage_are_refused(
    name: str, shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    path = report().write(tmp_path / "v.h5")
    with h5py.File(path, "r+") as file:
        declared(file, name, shape, **options)

    with pytest.raises(SourceError, match=rf"{name} of .* has shape .* 0 are stored.*--trust"):
        convert(path, tmp_path / "v.nwb")

    assert not (tmp_path / "v.nwb").exists()


def test_a_sparse_report_is_read(tmp_path: Path) -> None:
    path = report(rows=50_000, time=(0, 5000, 0.1)).write(tmp_path / "v.h5")
    with h5py.File(path, "r+") as file:
        declared(file, DATA, (50_000, 3), chunks=(1000, 3), compression="gzip", fillvalue=-65)
        file[DATA][49_999] = 1

    with open_output(path, unit=MILLIVOLT) as output:
        np.testing.assert_array_equal(output.reports[0].data[[0, -1], 0], [-65, 1])


@pytest.mark.parametrize("filters", [(ZSTD,), (BIT_GROOM, SHUFFLE, ZSTD)])
def test_zeros_that_zstd_compresses_20_000_fold_are_accepted(
    filters: tuple[int, ...], tmp_path: Path
) -> None:
    path = report().write(tmp_path / "v.h5")
    rows = 2**20
    with h5py.File(path, "r+") as file:
        del file[DATA]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((rows, 3))
        for number in filters:
            properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((200 * rows, 3))
        name = DATA.encode()
        data = h5py.h5d.create(file.id, name, h5py.h5t.IEEE_F32LE, space, properties)
        for chunk in range(200):
            data.write_direct_chunk((chunk * rows, 0), bytes(3 * 4 * rows // 20_000))

    with open_source(path) as file:
        assert file[DATA].nbytes > 2**31


def zeros(n_bytes: int) -> bytes:
    """Return a zlib stream of zeros."""
    deflater, piece = zlib.compressobj(9), bytes(2**20)
    parts = [deflater.compress(piece) for _ in range(n_bytes // 2**20)]
    return b"".join([*parts, deflater.flush()])


@pytest.mark.parametrize(
    ("name", "shape", "n_bytes"),
    [
        (DATA, (3, 3), 2**26),
        ("report/pop/mapping/node_ids", (2,), 2**26),
        ("report/pop/mapping/time", (2**18,), 2**26),
    ],
)
def test_a_chunk_that_inflates_to_more_than_it_says_is_refused_before_it_is_read(
    name: str,
    shape: tuple[int, ...],
    n_bytes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "_LARGE_BYTES", 2**10)
    path = report().write(tmp_path / "v.h5")
    with h5py.File(path, "r+") as file:
        declared(file, name, shape, chunks=shape, compression="gzip")
        file[name].id.write_direct_chunk((0,) * len(shape), zeros(n_bytes))

    with pytest.raises(SourceError, match=rf"{name} of .* inflates to more than its"):
        open_output(path)


def test_only_as_much_of_a_chunk_is_inflated_as_it_should_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_LARGE_CHUNK", 2**10)
    path = report(rows=2**18, time=(0, 26214.4, 0.1)).write(tmp_path / "v.h5")
    with h5py.File(path, "r+") as file:
        declared(file, DATA, (2**18, 3), chunks=(2**18, 3), compression="gzip")
        file[DATA].id.write_direct_chunk((0, 0), zeros(2**26))

    with (
        open_output(path, unit=MILLIVOLT) as output,
        pytest.raises(SourceError, match="more than 3145728 bytes"),
    ):
        output.reports[0].data[:, :]


def test_data_that_are_compressed_twice_are_refused(tmp_path: Path) -> None:
    path = report().write(tmp_path / "v.h5")
    with h5py.File(path, "r+") as file:
        del file[DATA]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((3, 3))
        for _ in range(2):
            properties.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (9,))
        space = h5py.h5s.create_simple((3, 3))
        h5py.h5d.create(file.id, DATA.encode(), h5py.h5t.IEEE_F32LE, space, properties)

    with pytest.raises(SourceError, match=f"{DATA} of .* is compressed more than once"):
        open_output(path)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_thousands_of_links_to_one_object_are_refused(kind: str, tmp_path: Path) -> None:
    path = report().write(tmp_path / "v.h5")
    with h5py.File(path, "r+") as file:
        for number in range(3000):
            found = file["report/pop"] if kind == "hard" else h5py.SoftLink("/report/pop")
            file[f"report/{number}"] = found

    with pytest.raises(SourceError, match="groups are reached 6004 times"):
        open_output(path)


def test_groups_that_contain_one_another_twice_are_counted_without_visiting_all(
    tmp_path: Path,
) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        inner = file.create_group("0")
        for number in range(1, 80):
            outer = file.create_group(str(number))
            outer["a"] = outer["b"] = inner
            inner = outer

    with pytest.raises(SourceError, match="groups are reached"):
        open_source(tmp_path / "v.h5")


@pytest.mark.parametrize("depth", [200, 10_000])
def test_deep_nesting_is_refused_where_hdf5_would_overflow_its_stack(
    depth: int, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        group: h5py.Group = file
        for _ in range(depth):
            group = group.create_group("a")

    with pytest.raises(SourceError, match="has a group in 100 others"):
        open_source(tmp_path / "v.h5")


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}])
@pytest.mark.parametrize("name", ["v.nwb", "sonata"])
def test_a_full_disk_is_told_of_before_hours_of_writing(
    storage: dict[str, Any], name: str, tmp_path: Path
) -> None:
    path = report(rows=3).write(tmp_path / "in.h5")
    with h5py.File(path, "r+") as file:
        rows = 2**52
        declared(file, DATA, (rows, 3), chunks=(2**20, 3))
        file[DATA].attrs["units"] = "mV"
        file["report/pop/mapping/time"][:] = (0, rows, 1)
    target = tmp_path / "out" / name
    target.parent.mkdir()

    def written(output: SimulationOutput) -> Any:
        if name == "sonata":
            return sonata.write(output, target)
        return convert(output, target, storage=StorageOptions(**storage), metadata=SESSION)

    with (
        open_output(path, trust=True) as output,
        pytest.raises(WriteError, match=r"needs at least \d+ bytes, and \d+ are free in"),
    ):
        written(output)

    assert not list(target.parent.iterdir())
