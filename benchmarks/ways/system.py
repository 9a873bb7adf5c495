"""Raw file operations, as limits for all other methods."""

import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

__all__ = ["cp", "import_module_of", "read_blocks", "write_blocks"]

Work = Callable[[], object]
BLOCK_BYTES = 2**26


def cp(source: str, target: str) -> Work:
    """Copy the file with the system's `cp`, or with Python if there is none."""
    command = shutil.which("cp")
    if command is None:
        return lambda: shutil.copyfile(source, target)
    # Paths of ours.
    return lambda: subprocess.run([command, source, target], check=True)  # noqa: S603


def write_blocks(source: str, target: str) -> Work:
    """Write as many bytes as the source has, in blocks of 64 MiB that are in memory."""
    size = Path(source).stat().st_size
    block = memoryview(bytearray(b"\x01" * min(size, BLOCK_BYTES)))

    def work() -> None:
        with Path(target).open("wb", buffering=0) as file:
            file.writelines(block[: size - start] for start in range(0, size, BLOCK_BYTES))

    return work


def read_blocks(source: str) -> Work:
    """Read the file in blocks of 64 MiB into the same memory again and again."""
    block = bytearray(b"\x01" * BLOCK_BYTES)

    def work() -> None:
        with Path(source).open("rb", buffering=0) as file:
            while file.readinto(block):
                pass

    return work


def import_module_of(*, name: str) -> Work:
    """Import a package."""
    return lambda: import_module(name)
