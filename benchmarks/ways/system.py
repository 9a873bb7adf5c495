"""Raw file operations, as limits for all other methods."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

__all__ = ["cp", "import_modules", "python", "read_blocks", "write_blocks"]

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


def import_modules(*, names: list[str]) -> Work:
    """Import packages."""
    return lambda: [import_module(name) for name in names]


def python(*paths: str, words: list[str], settings: dict[str, str] | None = None) -> Work:
    """Run Python in a process of its own, with the paths as its last arguments."""
    command, environment = [sys.executable, *words, *paths], os.environ | (settings or {})
    # Code of ours.
    return lambda: subprocess.run(  # noqa: S603
        command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
