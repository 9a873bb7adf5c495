"""Streams are standard zlib, and those of HDF5 and zlib are read."""

import ctypes
import importlib.util
import mmap
import sys
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from isal import isal_zlib

from ndx_simulation_output.cable import simulate
from ndx_simulation_output.storage import filters
from ndx_simulation_output.storage.filters import deflate, inflate, shuffle, unshuffle
from tests.storage.making import DTYPES, SHAPES, keys, matrix

FASTEST = {"isal": (isal_zlib, 2), "zlib": (zlib, 4)}


def use(patch: pytest.MonkeyPatch, fast: str) -> None:
    """Compress and inflate as if only this library were installed."""
    module, level = FASTEST[fast]
    patch.setattr(filters, "_zlib", module)
    patch.setattr(filters, "_LEVEL", level)


@pytest.fixture(scope="module", params=FASTEST)
def libraries(request):
    """Each compressor that may be installed."""
    with pytest.MonkeyPatch.context() as patch:
        use(patch, request.param)
        yield request.param


@pytest.fixture(scope="module")
def voltages() -> np.ndarray:
    """Membrane potentials as simulators store them, shape (time, compartment)."""
    # At the beginning all compartments are at rest.
    return np.asarray(simulate(duration=0.2)["v_exc"].data[1000:, :]).astype("<f4")


@st.composite
def planes(draw: st.DrawFn) -> np.ndarray:
    """Byte planes of every kind: noise, smooth ones, and constant ones, in any order."""
    size = draw(st.sampled_from([1, 2, 100, 2**13 + 1, 2**16 - 1, 2**16, 2 * 2**16 + 7]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kinds = {
        "noise": lambda: rng.integers(0, 256, size, np.uint8),
        "half": lambda: rng.integers(0, 16, size, np.uint8),
        "smooth": lambda: (np.arange(size) // 300).astype(np.uint8),
        "zeros": lambda: np.zeros(size, np.uint8),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=8))
    return np.array([kinds[kind]() for kind in chosen])


@given(planes=planes())
def test_a_stream_is_plain_zlib(libraries, planes):
    stream = deflate(planes)

    assert zlib.decompress(stream) == planes.tobytes()
    assert inflate(stream, planes.nbytes).tobytes() == planes.tobytes()


@given(
    array=npst.arrays(
        npst.floating_dtypes(endianness="?")
        | npst.integer_dtypes(endianness="?")
        | npst.complex_number_dtypes(),
        npst.array_shapes(max_dims=3, max_side=9),
    )
)
def test_values_of_every_type_and_shape_are_restored(libraries, array):
    stream = deflate(shuffle(array))

    stored = np.frombuffer(zlib.decompress(stream), np.uint8).reshape(array.itemsize, -1)
    assert stored.T.tobytes() == array.tobytes()


@given(planes=planes(), level=st.integers(0, 9))
def test_streams_of_zlib_are_inflated(libraries, planes, level):
    stream = memoryview(zlib.compress(planes, level))

    assert inflate(stream, planes.nbytes).tobytes() == planes.tobytes()


@given(dtype=st.sampled_from(DTYPES), shape=SHAPES, seed=st.integers(0, 99))
def test_chunks_are_read_by_the_filters_of_hdf5(libraries, dtype, shape, seed):
    values = matrix(shape, dtype, seed)

    with h5py.File("chunks.h5", "w", driver="core", backing_store=False) as file:
        options = {"chunks": shape, "compression": "gzip", "shuffle": True}
        data = file.create_dataset("data", shape, dtype, **options)
        data.id.write_direct_chunk((0, 0), deflate(shuffle(values)))

        assert data[()].tobytes() == values.tobytes()


@given(dtype=st.sampled_from(DTYPES), chunk=st.tuples(*[st.integers(1, 12)] * 2), data=st.data())
def test_a_part_of_a_shuffled_chunk_is_that_of_numpy(dtype, chunk, data):
    values = matrix(chunk, dtype)
    rows, columns = data.draw(keys(chunk))

    found = unshuffle(shuffle(values).reshape(-1), values.dtype, chunk, (rows, columns))

    assert found.tobytes() == values[rows, columns].tobytes()


def test_the_libraries_read_each_others_streams():
    planes = shuffle(matrix((100, 30), "<f4"))

    for writer, reader in product(FASTEST, repeat=2):
        with pytest.MonkeyPatch.context() as patch:
            use(patch, writer)
            stream = deflate(planes)
            use(patch, reader)
            assert inflate(stream, planes.nbytes).tobytes() == planes.tobytes()


def test_noise_is_stored_as_it_is(libraries):
    noise = np.random.default_rng(0).integers(0, 256, (3, 70_000), np.uint8)

    stream = deflate(noise)

    for plane in noise:
        assert plane[:65535].tobytes() in stream
    assert len(stream) < noise.nbytes + 50


def test_smooth_planes_are_compressed_and_noise_between_them_is_not(libraries):
    rng = np.random.default_rng(0)
    smooth = np.repeat(rng.integers(0, 256, 300, np.uint8), 100)
    noise = rng.integers(0, 256, smooth.size, np.uint8)

    stream = deflate(np.array([smooth, noise, smooth, noise, smooth]))

    assert 2 * noise.size < len(stream) < 2 * noise.size + 3 * smooth.size / 10


def test_voltages_are_about_as_small_as_zlib_makes_them(libraries, voltages):
    planes = shuffle(voltages)

    assert len(deflate(planes)) < 1.06 * len(zlib.compress(planes, 4))


DAMAGES = {
    "nothing": lambda stream: stream[:0],
    "one byte": lambda stream: stream[:1],
    "without checksum": lambda stream: stream[:-5],
    "a half": lambda stream: stream[: len(stream) // 2],
    "another checksum": lambda stream: stream[:-1] + bytes([stream[-1] ^ 1]),
    "another byte": lambda stream: stream[:50] + bytes([stream[50] ^ 255]) + stream[51:],
    "another header": lambda stream: b"\x00" + stream[1:],
    "text": lambda stream: b"no zlib stream at all" + stream[:0],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_stream_is_a_value_error(libraries, damage):
    planes = shuffle(matrix((30, 10), "<f8"))
    damaged = DAMAGES[damage](deflate(planes))

    with pytest.raises(ValueError):  # noqa: PT011 - the wording depends on the library
        inflate(damaged, planes.nbytes)


@pytest.mark.parametrize("length", [1, 99, 101, 10_000])
def test_a_stream_of_another_length_is_a_value_error(libraries, length):
    stream: Any = zlib.compress(bytes(100))

    with pytest.raises(ValueError):  # noqa: PT011 - the wording depends on the library
        inflate(stream, length)


def test_a_shorter_stream_says_how_long_it_is(libraries):
    with pytest.raises(ValueError, match="the stream has 100 bytes; expected 101"):
        inflate(zlib.compress(bytes(100)), 101)


def test_without_isal_zlib_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "deflate", None)
    planes = shuffle(matrix((50, 20), "<f4"))

    spec = importlib.util.spec_from_file_location("without", filters.__file__)
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)

    assert zlib.decompress(without.deflate(planes)) == planes.tobytes()
    assert without.inflate(deflate(planes), planes.nbytes).tobytes() == planes.tobytes()
    with pytest.raises(ValueError, match="incomplete or truncated stream"):
        without.inflate(deflate(planes)[:-9], planes.nbytes)


@pytest.fixture
def are_registers_in_use():
    """A function that returns True if the upper halves of the vector registers are in use."""
    cpu = Path("/proc/cpuinfo")
    if not cpu.exists() or "xgetbv1" not in cpu.read_text():
        pytest.skip("the processor does not tell of its registers")
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(b"\x31\xc9\xff\xc1\x0f\x01\xd0\xc3")  # xor ecx, ecx; inc ecx; xgetbv; ret
    code = ctypes.c_char.from_buffer(memory)
    in_use = ctypes.CFUNCTYPE(ctypes.c_uint32)(ctypes.addressof(code))
    upper_halves = 0b100_0100
    yield lambda: bool(in_use() & upper_halves)
    del code  # The code is in memory until here.


def test_no_vector_register_is_in_use_afterwards(are_registers_in_use):
    planes = shuffle(matrix((500, 20), "<f4"))
    isal_zlib.adler32(planes.data)
    if not are_registers_in_use():
        pytest.skip("ISA-L uses no long vectors on this processor")

    stream = deflate(planes)
    after_deflate = are_registers_in_use()
    inflate(stream, planes.nbytes)
    after_inflate = are_registers_in_use()
    filters.exceeds(stream, 10)

    assert not after_deflate
    assert not after_inflate
    assert not are_registers_in_use()
