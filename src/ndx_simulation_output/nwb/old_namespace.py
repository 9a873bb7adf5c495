"""Reading files of the namespace that came before: ``simulation_output``, up to version 0.2.0."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
from pynwb import get_class, load_namespaces, register_class

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb.types import Compartments, CompartmentSeries

__all__ = ["OLD_NAMESPACE", "read_old_namespace"]

OLD_NAMESPACE = "simulation_output"


def read_old_namespace(path: str | Path) -> None:
    """Let this process read files of the namespace ``simulation_output``, as the file defines it.

    pynwb finds types by name in all namespaces, so that ours hide those of the same name. Call
    this once, with any such file. It is not done by itself as it lasts: every file that is
    written afterwards caches the old namespace too.

    Raises
    ------
    SourceError
        If the file does not define that namespace.

    Example
    -------
    >>> read_old_namespace("of_2018.nwb")  # doctest: +SKIP

    """
    with TemporaryDirectory() as directory:
        load_namespaces(str(_unpack(Path(path), Path(directory))))
    for ours in (Compartments, CompartmentSeries):
        get_class(ours.__name__, OLD_NAMESPACE)
        register_class(ours.__name__, OLD_NAMESPACE, type(ours.__name__, (ours,), {}))


def _unpack(path: Path, directory: Path) -> Path:
    """Write the definitions that a file caches to files (JSON is YAML); give the namespace's."""
    try:
        with h5py.File(path, "r") as file:
            versions = file["specifications"][OLD_NAMESPACE]
            cached = {name: text[()] for name, text in versions[max(versions)].items()}
    except (OSError, KeyError) as error:
        msg = f"{path} does not define the namespace {OLD_NAMESPACE}"
        raise SourceError(msg) from error
    for name, text in cached.items():
        (directory / f"{name}.yaml").write_bytes(text)
    namespace = json.loads(cached["namespace"])
    for schema in namespace["namespaces"][0]["schema"]:
        if "source" in schema:
            schema["source"] += ".yaml"
    target = directory / "namespace.yaml"
    target.write_text(json.dumps(namespace), encoding="utf-8")
    return target
