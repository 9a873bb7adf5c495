"""What every test may use: genuine files, properties that a busy machine does not fail, and a guard
against files left open.
"""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pynwb.validation
import pytest
from hdmf.build import BuildManager
from hypothesis import HealthCheck, settings

if os.environ.get("NDX_SYSTEM") == "windows":
    from tests.windows import NOT_THERE, pretend

    pretend()

    def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
        """Skip what Windows cannot do."""
        for item in items:
            if reason := NOT_THERE.get(item.name.partition("[")[0]):
                item.add_marker(pytest.mark.skip(reason))


# They import simulators, which may not be there, and have no doctests.
collect_ignore_glob = ["annarchy/[!t]*.py", "neuron/[!t]*.py", "sonata/running.py"]

# The same examples every time, however slow the machine: a change is refused for what it does.
# `pytest --hypothesis-profile=few` is for a second environment, `=explore` looks for new examples.
_STEADY = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}
settings.register_profile("steady", max_examples=12, **_STEADY)
settings.register_profile("few", max_examples=6, **_STEADY)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("steady")

ROOT = Path(__file__).parents[1]


DATA = Path(os.environ.get("NDX_TEST_DATA") or ROOT.parent / "shared" / "data")
"""Where the genuine files are, if they are."""


def _open_files() -> int:
    return int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))


@pytest.fixture(autouse=True)
def no_open_file() -> Iterator[None]:
    """Fail a test that leaves an HDF5 file open."""
    before = _open_files()
    yield
    if _open_files() > before:
        gc.collect()
        pytest.fail(f"{_open_files() - before} HDF5 files stayed open")


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """Return a directory, in memory if there is such a place, to copy many small files in."""
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        yield Path(directory)


@pytest.fixture(scope="session", autouse=True)
def specifications_loaded_once() -> Iterator[None]:
    """Let files with the same cached specifications share what `pynwb.validate` makes of them.

    To make it takes half a second for each file.
    """
    load = pynwb.validation.get_cached_namespaces_to_validate
    known: dict[bytes, tuple[Any, ...]] = {}

    def load_once(path: str | None = None, *words: Any, **options: Any) -> tuple[Any, ...]:
        if path is None or not Path(path).is_file() or words or any(options.values()):
            return load(path, *words, **options)
        key = _cached_specifications(path)
        if key not in known:
            known[key] = load(path)
        names, manager, dependencies = known[key]
        return names, manager and BuildManager(manager.type_map), dependencies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pynwb.validation, "get_cached_namespaces_to_validate", load_once)
        yield


def _cached_specifications(path: str) -> bytes:
    found = []
    with h5py.File(path) as file:
        file["specifications"].visititems(
            lambda name, item: found.append((name, item[()] if hasattr(item, "dtype") else None))
        )
    return repr(found).encode()


def _genuine(name: str) -> Path:
    data = DATA / name
    if not data.is_dir():
        pytest.skip(f"the genuine files are not at {data}; set NDX_TEST_DATA to their directory")
    return data


@pytest.fixture(scope="session")
def sonata_data() -> Path:
    """Directory of the genuine SONATA files and their INDEX.json."""
    return _genuine("sonata")


@pytest.fixture(scope="session")
def neuronvisio_data() -> Path:
    """Directory of the genuine storages of Neuronvisio and what they must hold."""
    return _genuine("neuronvisio")


@pytest.fixture(scope="session")
def pymodaq_data() -> Path:
    """Directory of the genuine files of PyMoDAQ and what they must hold."""
    return _genuine("pymodaq")


@pytest.fixture(scope="session")
def annarchy_data() -> Path:
    """Directory of the genuine files of ANNarchy, a directory for each version."""
    return _genuine("annarchy")
