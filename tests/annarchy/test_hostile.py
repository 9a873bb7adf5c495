"""Damaged and malicious files raise an error that names them, and no code in them is run."""

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.annarchy import containers
from ndx_simulation_output.errors import (
    NothingRecordedError,
    SimulationOutputError,
    SourceError,
    UnsupportedSourceError,
)
from tests.sonata.making import SESSION


class Harm:
    """An object that creates a directory when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def population(**changes) -> dict:
    parts = {"name": "exc", "geometry": (4,), "attributes": ["v"], "variables": ["v"]}
    return {**parts, "parameters": [], "v": np.arange(4.0), **changes}


def projection(**changes) -> dict:
    parts = {"name": "rec", "pre": "exc", "post": "exc", "target": "exc", "attributes": ["w"]}
    parts |= {"variables": ["w"], "post_ranks": [0, 3], "pre_ranks": [[1, 2], [0]]}
    return {**parts, "delays": 0.5, "w": [[0.1, 0.2], [0.3]], **changes}


def saved(path, content) -> None:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))


def in_containers(content, protocol: int) -> dict[str, bytes]:
    """Return the content as a pickle, a gzipped pickle, and an array of objects in an archive."""
    plain = pickle.dumps(content, protocol)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        header = io.BytesIO()
        described = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(header, described)
        made.writestr("exc.npy", header.getvalue() + plain)
    return {"pickle": plain, "gzip": gzip.compress(plain), "npz": archive.getvalue()}


def network(population_changes=None, projection_changes=None, **changes) -> dict:
    names = {"populations": ["exc"], "projections": ["rec"]}
    parts = {"time_step": 200, "net_id": 0, "obj_names": names}
    parts["exc"] = population(**(population_changes or {}))
    parts["rec"] = projection(**(projection_changes or {}))
    return {**parts, **changes}


def connectivity(**changes) -> dict:
    parts = {"name": "rec", "post_ranks": [0, 3], "pre_ranks": [[1, 2], [0]], "size": 2}
    parts |= {"w": 0.5, "delay": [[0.5, 1.0], [0.5]], "max_delay": 2, "uniform_delay": -1}
    return {**parts, "nb_synapses": 3, **changes}


def archived(content) -> bytes:
    """Return an archive of objects, as ANNarchy saves networks."""
    header = io.BytesIO()
    described = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(header, described)
    return archive_of(
        {name: header.getvalue() + pickle.dumps(value) for name, value in content.items()}
    )


NAN = float("nan")
INTEGER = "expected an integer from"
IMPOSSIBLE = [
    *(
        (network(time_step=value), f"time_step is .*{INTEGER} 0 to")
        for value in (2**63, -1, 0.5, NAN)
    ),
    (network(net_id=-1), f"net_id is .*{INTEGER} 0 to"),
    (network(None, {"pre": []}), "pre of projection 'rec' is .*expected one population"),
    *((network({"geometry": one}), f"geometry of .*{INTEGER} 1") for one in ((-4,), (0,), (2.5,))),
    (network({"geometry": (2**40,), "attributes": []}), "has 1099511627776 neurons; expected 1 to"),
    (network({"geometry": (-2, -2)}), f"geometry of .*{INTEGER} 1"),
    (network({"size": 5}), r"the size of population 'exc' is 5, but its geometry is \(4,\)"),
    (network({"size": 2.5}), f"the size of population 'exc' is 2.5; {INTEGER}"),
    (network(None, {"delays": -0.5}), "from -1.0 to -1.0 time steps; expected from 1"),
    (network(None, {"delays": [[0.5, -0.5], [0.5]]}), "delays of projection 'rec': .* from -1.0"),
    (network(None, {"delays": 0.0}), "from 0.0 to 0.0 time steps"),
    (network(None, {"delays": 1e300}), "expected from 1 to 9007199254740992"),
    (network(None, {"pre_ranks": [[1, 4], [0]]}), "pre-synaptic rank 4 .* 'exc' has 4 neurons"),
    (network(None, {"post_ranks": [0, 99]}), "post-synaptic rank 99 .* 'exc' has 4 neurons"),
    (network(None, {"pre_ranks": [[1, -1], [0]]}), "pre_ranks: rank -1 is negative"),
    (network(None, {"pre_ranks": [[1, 2**63], [0]]}), "pre_ranks: "),
    (network(None, {"post_ranks": [-1, 0]}), "post_ranks of .*: rank -1 is negative"),
    (network(None, {"post_ranks": [0.5, 3.0]}), "post_ranks of .* of type float64; expected int"),
    (network(None, {"post_ranks": [0, 0]}), "post-synaptic rank 0 .* is in more than one row"),
    (connectivity(size=3), "size of projection 'rec' is 3, but there are 2"),
    (connectivity(nb_synapses=9), "nb_synapses of projection 'rec' is 9, but there are 3"),
    (connectivity(uniform_delay=-2), f"uniform_delay is -2; {INTEGER} -1"),
    (connectivity(max_delay=1.5), f"max_delay is 1.5; {INTEGER} 0"),
    (connectivity(delay=[[0.5, -1.0], [1.0]]), "from -2.0 to 2.0 time steps"),
    (network({"geometry": (NAN,)}), f"geometry of .*{INTEGER} 1"),
]
ALL_IMPOSSIBLE = [
    *IMPOSSIBLE,
    *((network(time_step=value), f"time_step is .*{INTEGER}") for value in (2**70, True, [3])),
    (network({"name": "a\0b", "attributes": ["a\0b"], "a\0b": 1.0}), r"'a\\x00b' in population"),
    (network({"attributes": ["\ud800"], "\ud800": 1.0}), r"'\\ud800' in population 'exc' contains"),
    (network(None, {"target": "a\0b"}), r"'a\\x00b' in projection 'rec' contains NUL"),
    (network(None, {"pre": "\udfff"}), r"'\\udfff' in projection 'rec'"),
    (network(**{"": population()}), "a name in part '' is empty"),
    *((network({"geometry": one}), f"geometry of .*{INTEGER} 1") for one in ((True, 4),)),
    (network(None, {"delays": True}), "delays of projection 'rec': they are booleans"),
]


@pytest.mark.parametrize("container", ["pickle", "gzip", "npz", "mat"])
def test_what_no_network_can_have_is_refused_in_one_line(tmp_path, container):
    path, target = tmp_path / "saved.txt", tmp_path / "saved.nwb"
    for content, message in IMPOSSIBLE if container == "mat" else ALL_IMPOSSIBLE:
        if container == "mat":
            savemat = pytest.importorskip("scipy.io", reason="SciPy is not installed").savemat
            savemat(path, content)
        elif container == "npz":
            path.write_bytes(archived(content))
        else:
            saved(path, in_containers(content, 4)[container])

        with pytest.raises(SourceError, match=message) as caught:
            convert(path, target, dt=0.5, metadata=SESSION)

        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not target.exists()


@pytest.mark.parametrize("dt", [0.0, -0.5, float("nan"), float("inf")])
def test_a_time_step_that_no_network_can_have_is_refused(tmp_path, dt):
    saved(tmp_path / "saved.txt", network())

    with pytest.raises(SourceError, match=r"saved\.txt: dt is .* ms; expected more than 0"):
        open_output(tmp_path / "saved.txt", dt=dt)


def test_synapses_that_connect_the_same_neurons_are_noted(tmp_path):
    saved(tmp_path / "saved.txt", network(None, {"pre_ranks": [[1, 1], [0]]}))

    with open_output(tmp_path / "saved.txt", dt=0.5) as output:
        assert output.notes == ("projection rec: neuron 1 is connected to neuron 0 more than once",)


def test_parts_may_have_the_names_of_entries_of_a_part(tmp_path):
    names = ["geometry", "name", "target", "size"]
    saved(tmp_path / "saved.txt", {name: population(name=name) for name in names})

    with open_output(tmp_path / "saved.txt") as output:
        assert [part.name for part in output.networks[0].populations] == names


def test_a_small_file_is_read_with_little_memory(tmp_path):
    """Another process, because the limit of a process cannot be raised again."""
    for name, content in {"s.txt": network(), "s.gz": network()}.items():
        plain = pickle.dumps(content)
        (tmp_path / name).write_bytes(gzip.compress(plain) if name == "s.gz" else plain)
    code = (
        "import resource; from ndx_simulation_output import annarchy\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28,) * 2)\n"
        "for name in ('s.txt', 's.gz'): annarchy.read(name, dt=0.5).close()"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is limited on Linux only")

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("container", ["pickle", "gzip", "npz"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_no_code_is_run(tmp_path, container, protocol):
    touched = tmp_path / "touched"
    content = in_containers({"exc": population(v=Harm(touched))}, protocol)[container]
    path = tmp_path / "network.txt"
    saved(path, content)

    with pytest.raises(UnsupportedSourceError, match="which could run code"):
        open_output(path, dt=0.5)

    assert not touched.exists()


def test_pickle_runs_the_code_in_these_files(tmp_path):
    pickle.loads(pickle.dumps(Harm(tmp_path / "touched")))  # noqa: S301 - to show that it does

    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04cbuiltins\neval\n.", "refers to builtins.eval"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "refers to os.system"),
        (b"\x80\x04I5\n.", "opcode 0x49"),
        (b"\x80\x04Pid\n.", "opcode 0x50"),
        (b"\x80\x04}r" + struct.pack("<I", 2**31) + b".", "more values than its"),
        (b"\x80\x04B" + struct.pack("<I", 2**31) + b".", "damaged or truncated"),
        (b"\x80\x04}", "damaged or truncated"),
        (b"\x80\x04K\x05.", "contains a int; expected a dict"),
        (b"\x80\x04}K\x01K\x02s.", "expected a dict whose keys are names"),
        (b"\x80\x04}.", "neither a population nor a projection"),
        (gzip.compress(b"\x80\x04}.", mtime=0)[:-4], "damaged or truncated"),
        (pickle.dumps({"a": np.zeros(3, "M8[s]")}), "of type 'M8'; expected numbers or text"),
        (pickle.dumps({"a": 1.5, "exc": {"dendrites": []}}), "layout of ANNarchy before 4.5.3"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path, content, message):
    path = tmp_path / "network.npz"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=message) as caught:
        open_output(path, dt=0.5)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (population(geometry=(5,)), r"'v' of population 'exc' .*expected \(5,\)"),
        (population(v=["a"] * 4), "v of population 'exc': .*other than numbers"),
        (population(v=np.array(["a"] * 4)), "expected numbers"),
        (population(geometry=(-1,)), "expected"),
        (projection(pre_ranks=[[1, 2]]), "pre_ranks has 1 rows; expected 2"),
        (
            projection(w=[[0.1], [0.2, 0.3]]),
            "w of projection 'rec': the lengths of the rows differ",
        ),
        (projection(pre_ranks=[[0.5, 1.5], [1.0]]), "expected integers"),
        (projection(delays=0.7), "not multiples of dt, 0.5 ms"),
        (projection(delays=float("nan")), "not multiples of dt"),
        (projection(delays=[0.5, 0.5]), "one value for each row"),
        (
            {"exc": projection(pre_ranks=[[0] * 999] * 999, post_ranks=[0] * 999)},
            "998001 synapses; expected at most",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(tmp_path, content, message):
    path = tmp_path / "saved.txt"
    saved(path, content)

    with pytest.raises(SimulationOutputError, match=message):
        open_output(path, dt=0.5)


def test_a_listed_value_that_is_missing_is_noted(tmp_path):
    path = tmp_path / "saved.txt"
    saved(path, population(attributes=["v", "u", "v"]))

    with open_output(path) as output:
        (found,) = output.networks[0].populations
        assert [quantity.name for quantity in found.quantities] == ["v"]
        assert output.notes == ("left out: u of exc, which is listed without a value",)


def test_a_population_may_have_the_name_of_an_entry(tmp_path):
    path = tmp_path / "saved.txt"
    saved(path, {"time_step": population(name="time_step"), "net_id": 1})

    with open_output(path) as output:
        (network,) = output.networks

    assert [found.name for found in network.populations] == ["time_step"]
    assert (network.step, network.time) == (None, None)


def test_an_empty_network_is_refused(tmp_path):
    path = tmp_path / "saved.txt"
    saved(path, {"time_step": 3, "obj_names": {"populations": [], "projections": []}})

    with pytest.raises(NothingRecordedError, match="neither a population nor a projection"):
        open_output(path, dt=0.5)


def test_a_file_that_is_too_large_after_decompression_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "_MAX_BYTES", 1000)
    path = tmp_path / "saved.gz"
    path.write_bytes(gzip.compress(pickle.dumps(population(v=np.zeros(1000)))))

    with pytest.raises(UnsupportedSourceError, match="more than 1000 bytes"):
        open_output(path)


@pytest.mark.parametrize("container", ["gz", "npz"])
def test_a_small_file_that_expands_to_a_large_one_is_refused(tmp_path, monkeypatch, container):
    monkeypatch.setattr(containers, "_SUSPICIOUS_BYTES", 1000)
    path = tmp_path / "saved"
    zeros = population(v=np.zeros(200_000), geometry=(200_000,))
    path.write_bytes(gzip.compress(pickle.dumps(zeros)) if container == "gz" else archived(zeros))

    with pytest.raises(UnsupportedSourceError, match=r"after decompression, \d+ times its size"):
        open_output(path)


def array_of(shape, descr="<f8", data=b"") -> bytes:
    """Return a .npy file with any header."""
    made = io.BytesIO()
    described = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, described)
    return made.getvalue() + data


def archive_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return made.getvalue()


LARGE = (2**40, 2**20)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"v": array_of(LARGE)}, "v is damaged or truncated"),
        ({"v": array_of((-1,))}, "neither a population"),
        ({"v": array_of(LARGE, "|O", pickle.dumps(np.zeros(2, object)))}, "neither a population"),
        ({"v": array_of((3,), "<f8", b"12345")}, "v is damaged or truncated"),
        ({"v": b"no array"}, "v is damaged or truncated"),
        ({"v": array_of((), "|O", b"\x80\x04cos\nsystem\n.")}, "refers to os.system"),
        ({"v": array_of((3,), "<M8[s]", bytes(24))}, "neither a population"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path, members, message):
    path = tmp_path / "network.npz"
    path.write_bytes(archive_of(members))

    with pytest.raises(SourceError, match=message) as caught:
        open_output(path, dt=0.5)

    assert str(path) in str(caught.value)


def test_an_archive_that_is_too_large_after_decompression_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "_MAX_BYTES", 1000)
    path = tmp_path / "saved.npz"
    path.write_bytes(archive_of({"v": array_of((1000,), "<f8", bytes(8000))}))

    with pytest.raises(UnsupportedSourceError, match=r"bytes after decompression"):
        open_output(path)


def test_an_archive_with_a_wrong_size_allocates_no_memory(tmp_path):
    """At most the size in the directory of the archive is read."""
    content = bytearray(archive_of({"v": array_of((100_000,), "<f8", bytes(800_000))}))
    directory = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, directory + 24, 10)
    path = tmp_path / "saved.npz"
    path.write_bytes(content)

    with pytest.raises(SourceError, match="damaged or truncated"):
        open_output(path)


def test_a_pickled_array_of_a_large_shape_allocates_no_memory(tmp_path):
    made = bytearray(pickle.dumps(population(v=np.zeros(3)), 4))
    place = made.index(b"K\x03\x85")  # its shape, (3,), which becomes (2**31 - 1,)
    path = tmp_path / "saved.txt"
    path.write_bytes(made[:place] + b"J" + struct.pack("<i", 2**31 - 1) + made[place + 2 :])

    with pytest.raises(SourceError, match=r"saved\.txt"):
        open_output(path)


@pytest.mark.parametrize("cut", [1, 20, 100, -1])
@pytest.mark.parametrize("container", ["pickle", "gzip", "npz"])
def test_a_truncated_file_is_refused(tmp_path, container, cut):
    content = in_containers({"exc": population()}, 4)[container]
    path = tmp_path / "network.txt"
    path.write_bytes(content[:cut])

    with pytest.raises(SimulationOutputError, match=r"network\.txt"):
        open_output(path, dt=0.5)


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b"\x93NUMPY", b"PK\x05\x06" + bytes(18)])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path = tmp_path / "network.npz"
    path.write_bytes(content)

    with pytest.raises(SimulationOutputError, match=r"network\.npz"):
        open_output(path, dt=0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (network(None, {"w": [[0.1, 0.2], [object()]]}), "is incomplete or damaged"),
        (network({"v" * 40: 1.0}), "incomplete"),
        (projection(pre_ranks=object()), "'rec' is incomplete"),
        (projection(post_ranks=object()), "'rec' is incomplete"),
        (population(geometry=object()), "'exc' is incomplete"),
    ],
)
def test_a_matlab_file_that_the_simulator_broke_off_is_called_incomplete(
    tmp_path, content, message
):
    savemat = pytest.importorskip("scipy.io", reason="SciPy is not installed").savemat
    path = tmp_path / "broken.mat"
    with path.open("wb") as file, pytest.raises((TypeError, ValueError)):
        savemat(file, content)

    with pytest.raises(SourceError, match=message):
        open_output(path, dt=0.5)


@pytest.mark.parametrize(("name", "cut"), [("exc", "v"), ("rec", "w")])
def test_values_that_a_broken_off_matlab_file_lacks_are_noted(tmp_path, name, cut):
    savemat = pytest.importorskip("scipy.io", reason="SciPy is not installed").savemat
    content = population(v=object()) if name == "exc" else projection(w=object())
    path = tmp_path / "broken.mat"
    with path.open("wb") as file, pytest.raises(TypeError):
        savemat(file, content)

    with open_output(path, dt=0.5) as output:
        assert output.notes == (
            f"left out: {cut} of {name}, which is listed without a value; it may be incomplete",
        )


@pytest.mark.parametrize("cut", [100, 200, 300, -1])
def test_a_truncated_matlab_file_is_refused(tmp_path, cut):
    savemat = pytest.importorskip("scipy.io", reason="SciPy is not installed").savemat
    savemat(tmp_path / "whole.mat", {"exc": population()})
    path = tmp_path / "cut.mat"
    path.write_bytes((tmp_path / "whole.mat").read_bytes()[:cut])

    with pytest.raises(SourceError, match=r"cut\.mat"):
        open_output(path)


def _matlab_matrix(inside: bytes, kind: int = 14) -> bytes:
    """Return an element with the values of a cell of one element, or of one number."""
    flags = struct.pack("<IIII", 6, 8, 1 if kind == 14 else 6, 0)
    parts = flags + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<HH4s", 1, 1, b"v") + inside
    return struct.pack("<II", 14, len(parts)) + parts


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("kind", [0, 8, 10, 19, 21, 40_000, "nested", "long"])
def test_a_matlab_file_for_which_scipy_crashes_is_refused(kind, is_compressed, tmp_path):
    pytest.importorskip("scipy.io", reason="SciPy is not installed")
    number = kind if isinstance(kind, int) else 9
    inside = struct.pack("<IId", number, 2**31 if kind == "long" else 8, 1.0)
    element = _matlab_matrix(inside, kind=number)
    for _ in range(5_000 if kind == "nested" else 0):
        element = _matlab_matrix(element)
    if is_compressed:
        compressed = zlib.compress(element)
        element = struct.pack("<II", 15, len(compressed)) + compressed
    path = tmp_path / "bad.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + element)

    with pytest.raises(SourceError, match=r"bad\.mat is incomplete or damaged"):
        open_output(path)


WHOLE = pickle.dumps({"time_step": 3, "exc": population(), "rec": projection()})


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(tmp_path_factory, place, byte):
    path = tmp_path_factory.mktemp("changed") / "saved.txt"
    path.write_bytes(WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :])

    try:
        open_output(path, dt=0.5).close()
    except SimulationOutputError as error:
        assert "saved.txt" in str(error)  # noqa: PT017 - most changes are refused, some are not
