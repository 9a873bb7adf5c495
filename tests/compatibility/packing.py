"""Golden files of 0.3.0, in one archive for each system.

Most of an NWB file is its cached schema, which an archive has once: ``tar xf sonata.tar.xz`` shows
the files.
"""

import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["GOLDEN", "pack", "read_expected", "unpack", "write_expected"]

GOLDEN = Path(__file__).parent / "golden" / "v030"


def pack(name: str, paths: Iterable[str]) -> None:
    """Write an archive of files and directories, the same bytes for the same files."""
    GOLDEN.mkdir(exist_ok=True)
    with tarfile.open(GOLDEN / f"{name}.tar.xz", "w:xz", preset=9) as archive:
        for path in paths:
            archive.add(path, filter=_without_origin)


def unpack(name: str, directory: Path) -> Path:
    """Extract an archive into a directory, and return that."""
    with tarfile.open(GOLDEN / f"{name}.tar.xz") as archive:
        archive.extractall(directory, filter="data")
    return directory


def write_expected(name: str, values: Mapping[str, Any]) -> None:
    """Write what the golden files of a simulator must hold, as the simulator itself reports it."""
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"{name}.json").write_text(json.dumps(values) + "\n", encoding="utf-8")


def read_expected(name: str) -> Any:
    """Return what the golden files of a simulator must hold."""
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def _without_origin(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member
