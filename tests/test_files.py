"""Files are there whole or not at all."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from ndx_simulation_output.errors import (
    SimulationOutputWarning,
    SourceError,
    TargetExistsError,
    WriteError,
)
from ndx_simulation_output.files import (
    atomic_directory,
    atomic_file,
    atomic_files,
    atomic_hdf5,
    check_space,
    check_target,
    uninterrupted,
)


def test_a_file_has_its_name_when_the_block_ends(tmp_path: Path):
    target = tmp_path / "a.txt"

    with atomic_file(target) as temporary:
        temporary.write_text("all")
        assert not target.exists()

    assert target.read_text() == "all"
    assert list(tmp_path.iterdir()) == [target]


def test_an_hdf5_file_has_its_name_when_the_block_ends(tmp_path: Path):
    target = tmp_path / "a.h5"

    with atomic_hdf5(target) as file:
        file["data"] = np.arange(3)
        assert not target.exists()

    with h5py.File(target) as file:
        assert file["data"][()].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("whole", [atomic_file, atomic_hdf5])
@pytest.mark.parametrize(
    "error", [ValueError("v"), RuntimeError("r"), SourceError("s"), KeyboardInterrupt(), KeyError()]
)
def test_an_error_leaves_the_old_file_and_stays_what_it_is(whole, error, tmp_path: Path):
    target = tmp_path / "a.h5"
    target.write_text("old")

    with pytest.raises(type(error)) as caught, whole(target, overwrite=True):
        raise error

    assert caught.value is error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("whole", [atomic_file, atomic_hdf5])
def test_an_error_of_the_system_names_the_target(whole, tmp_path: Path):
    expected = r"cannot write .*a\.h5: \[Errno 28\] No space left on device"

    with pytest.raises(WriteError, match=expected), whole(tmp_path / "a.h5"):
        raise OSError(28, "No space left on device")

    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_below_another_names_the_target(tmp_path: Path):
    expected = r"cannot write .*a\.h5: \[Errno 28\] No space"

    with pytest.raises(WriteError, match=expected), atomic_hdf5(tmp_path / "a.h5"):
        raise RuntimeError from OSError(28, "No space")


@pytest.mark.parametrize("whole", [atomic_file, atomic_hdf5])
def test_an_existing_file_is_replaced_only_when_asked(whole, tmp_path: Path):
    target = tmp_path / "a.h5"
    target.write_text("old")

    with pytest.raises(TargetExistsError, match=r"a\.h5 exists already"), whole(target):
        pass

    assert target.read_text() == "old"


_FULL = """
    import os, resource, sys
    import h5py
    from pathlib import Path
    import numpy as np
    from ndx_simulation_output.errors import WriteError
    from ndx_simulation_output.files import atomic_hdf5

    for limit in sys.argv[1:]:  # A process for each; libraries are imported once.
        if child := os.fork():
            print(limit, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.listdir())
            continue
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit),) * 2)
        try:
            with atomic_hdf5(Path("a.h5")) as file:
                for index in range(40):
                    file.create_group(f"group {index}").attrs["text"] = "x" * index
                    file[f"small/{index}"] = np.arange(index)
                    file.create_dataset(f"texts/{index}", data=["text"] * index)
                    options = {"chunks": (10, 2), "maxshape": (None, 2)}
                    file.create_dataset(f"chunked/{index}", data=np.zeros((25, 2)), **options)
                    options["compression"] = "gzip"
                    file.create_dataset(f"compressed/{index}", data=np.zeros((25, 2)), **options)
                file["large"] = np.zeros(20_000)
        except WriteError as error:
            print(error)
        print(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE), "files stayed open")
        break
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="file sizes cannot be limited")
def test_a_full_disk_is_one_error_wherever_it_comes(tmp_path: Path):
    limits = ["0", "50", "500", "3000", "10000", "40000", "90000", "150000", "250000", "300000"]

    done = subprocess.run(
        [sys.executable, "-uWignore::DeprecationWarning", "-c", textwrap.dedent(_FULL), *limits],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    error = "cannot write a.h5: [Errno 27] File too large\n0 files stayed open\n"
    assert done.stdout == "".join(f"{error}{limit} 0 []\n" for limit in limits)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("whole", [atomic_file, atomic_hdf5])
@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    whole, has_links, tmp_path: Path, monkeypatch
):
    target = tmp_path / "a.h5"
    (tmp_path / "a-1.h5").write_text("older")
    if not has_links:

        def no_links(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)

    def write() -> None:
        with whole(target) as written:
            if whole is atomic_file:
                written.write_text("new")
            target.write_text("of another")

    with pytest.raises(TargetExistsError, match=r"a\.h5 was created .* is .*a-2\.h5"):
        write()

    assert target.read_text() == "of another"
    assert (tmp_path / "a-1.h5").read_text() == "older"
    assert (tmp_path / "a-2.h5").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.h5", "a-2.h5", "a.h5"]


def test_a_directory_that_appears_meanwhile_is_not_replaced(tmp_path: Path):
    target = tmp_path / "a.zarr"

    def write() -> None:
        with atomic_directory(target) as written:
            (written / "zarr.json").write_text("new")
            target.mkdir()
            (target / "zarr.json").write_text("of another")

    with pytest.raises(TargetExistsError, match=r"a-1\.zarr"):
        write()

    assert (target / "zarr.json").read_text() == "of another"
    assert (tmp_path / "a-1.zarr" / "zarr.json").read_text() == "new"


@pytest.mark.parametrize("whole", [atomic_file, atomic_hdf5])
def test_a_replaced_file_keeps_its_permissions(whole, tmp_path: Path):
    target = tmp_path / "a.h5"
    target.write_text("old")
    target.chmod(0o640)

    with whole(target, overwrite=True) as written:
        temporary = written if whole is atomic_file else written.path
        assert temporary.stat().st_mode & 0o777 == 0o640

    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_followed(exists, tmp_path: Path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(place / "b.txt")
    if exists:
        (place / "b.txt").write_text("old")

    with atomic_file(link, overwrite=exists) as temporary:
        assert temporary.parent == place
        temporary.write_text("new")

    assert link.is_symlink()
    assert (place / "b.txt").read_text() == "new"
    assert list(place.iterdir()) == [place / "b.txt"]


def test_pipes_and_names_that_are_too_long_are_refused(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with (
        pytest.raises(WriteError, match="it is a device, pipe or socket"),
        atomic_file(pipe, overwrite=True),
    ):
        pass
    with pytest.raises(WriteError, match="File name too long"), atomic_file(tmp_path / ("a" * 300)):
        pass
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    "name", [b"a\xff.nwb", b"a\nb\x1b.nwb", "\u00b5 \u6f22.nwb".encode(), b"a" * 220]
)
def test_a_file_may_have_any_name(name, tmp_path: Path):
    target = tmp_path / os.fsdecode(name)

    for whole in (atomic_file, atomic_hdf5):
        with whole(target, overwrite=True):
            pass

    assert os.listdir(os.fsencode(tmp_path)) == [name]  # noqa: PTH208 - names in bytes


def test_a_name_whose_temporary_files_could_not_be_named_is_refused(tmp_path: Path):
    with (
        pytest.raises(WriteError, match="name too long, 221 bytes"),
        atomic_file(tmp_path / ("a" * 221)),
    ):
        pass
    with pytest.raises(WriteError, match="null character"), atomic_file(tmp_path / "a\0b"):
        pass


def test_files_of_one_export_are_replaced_together(tmp_path: Path):
    targets = [tmp_path / name for name in "abc"]
    for target in targets:
        target.write_text("old")

    def write(last: str) -> None:
        with atomic_files(targets, overwrite=True) as temporaries:
            for temporary in temporaries:
                temporary.write_text("new")
            assert last != "fails", last

    with pytest.raises(AssertionError, match="fails"):
        write("fails")
    assert {target.read_text() for target in targets} == {"old"}
    write("succeeds")
    assert {target.read_text() for target in targets} == {"new"}
    assert sorted(tmp_path.iterdir()) == targets


def test_a_replaced_store_keeps_its_permissions_and_link(tmp_path: Path):
    store, link = tmp_path / "a.zarr", tmp_path / "b.zarr"
    store.mkdir(0o750)
    (store / "zarr.json").write_text("old")
    link.symlink_to(store)

    with atomic_directory(link, overwrite=True) as temporary:
        (temporary / "zarr.json").write_text("new")

    assert (link / "zarr.json").read_text() == "new"
    assert link.is_symlink()
    assert store.stat().st_mode & 0o777 == 0o750
    assert sorted(tmp_path.iterdir()) == [store, link]


_KILLED = """
    import os, signal
    from pathlib import Path
    from ndx_simulation_output.files import atomic_file, atomic_directory
    name = os.fsdecode(b"it's\\n\\xff\\\\.nwb")
    with atomic_file(Path("it's.nwb")), atomic_file(Path(name)), atomic_directory(Path("b.zarr")):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="it cannot be seen whether processes run")
def test_files_of_killed_processes_are_told_of_once(tmp_path: Path):
    command = [sys.executable, "-c", textwrap.dedent(_KILLED)]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    left = sorted(tmp_path.iterdir())
    assert len(left) == 3
    (tmp_path / ".own.1.part.nwb").write_text("")  # Process 1 runs.

    with pytest.warns(SimulationOutputWarning) as told, atomic_file(tmp_path / "c.nwb"):
        pass
    with atomic_file(tmp_path / "d.nwb"):
        pass

    for path, warning in zip(left, told.list, strict=True):
        assert str(warning.message).startswith(f"{path} was left by process ")
        words = str(warning.message).rpartition("remove it with: ")[2]
        assert subprocess.run(["bash", "-c", words], check=False).returncode == 0  # noqa: S607
    assert sorted(path.name for path in tmp_path.iterdir()) == [".own.1.part.nwb", "c.nwb", "d.nwb"]


def test_files_that_are_written_together_are_not_compared_with_one_another(tmp_path, monkeypatch):
    looked_at = []
    monkeypatch.setattr("ndx_simulation_output.files.may_have_changed", looked_at.append)

    with atomic_files([tmp_path / f"{number}.h5" for number in range(20)]):
        pass

    assert looked_at == []
    assert len(list(tmp_path.iterdir())) == 20


def test_a_file_of_a_process_whose_number_another_has_is_told_of(tmp_path: Path):
    left = tmp_path / f".a.{os.getpid()}.part.nwb"
    left.write_text("")
    os.utime(left, (0, 0))  # before this process

    with pytest.warns(SimulationOutputWarning, match="was left by"), atomic_file(tmp_path / "b"):
        pass


def test_cleaning_up_is_not_interrupted():
    done = []

    def clean() -> None:
        try:
            raise ValueError
        finally:
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
                done.append("cleaned")

    with pytest.raises(KeyboardInterrupt):
        clean()

    assert done == ["cleaned"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("failures", [2, 10**9])
def test_a_target_that_is_open_on_windows_is_replaced_later_or_the_result_is_kept(
    failures, tmp_path, monkeypatch
):
    path, left, replace = tmp_path / "run.nwb", [None] * min(failures, 1000), Path.replace
    path.write_text("old")

    def refuse(source: Path, target: Path) -> Path:
        if left and left.pop() is None:
            raise PermissionError(13, "in use")
        return replace(source, target)

    monkeypatch.delattr("os.killpg", raising=False)
    monkeypatch.setattr("ndx_simulation_output.system._OPEN_SECONDS", 0.2)
    monkeypatch.setattr(Path, "replace", refuse)

    def write() -> None:
        with atomic_file(path, overwrite=True) as temporary:
            temporary.write_text("new")

    if failures == 2:
        write()
    else:
        with pytest.raises(
            WriteError, match=r"cannot replace .*in use.*another user.* written is .*run-1\.nwb"
        ):
            write()

    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    kept = {"run.nwb": "new"} if failures == 2 else {"run.nwb": "old", "run-1.nwb": "new"}
    assert found == kept


def test_a_system_that_does_not_tell_what_is_free_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.delattr(shutil, "disk_usage")

    check_space(tmp_path / "run.nwb", 2**63)


@pytest.mark.parametrize("name", ["aux.nwb", "run:1.nwb", "run?.nwb", "run.nwb."])
def test_a_name_that_windows_refuses_is_refused_before_anything_is_written(
    name, tmp_path, monkeypatch
):
    monkeypatch.setattr("ndx_simulation_output.system.msvcrt", object())

    with pytest.raises(WriteError, match="Windows has no such names; expected one such as "):
        check_target(tmp_path / name, overwrite=True)
    check_target(tmp_path / "run.1.nwb", overwrite=True)
