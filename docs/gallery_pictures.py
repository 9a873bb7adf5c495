"""Make the images of pages by running the commands on them."""

import os
import re
import runpy
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ndx_simulation_output import SimulationOutputWarning
from ndx_simulation_output.cli import main

__all__ = ["make_pictures"]

_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROOT = Path(__file__).parents[1]
_PICTURES = {".png", ".gif"}


def make_pictures(pages: Iterable[Path], target: Path) -> None:
    """Run the blocks of each page in order, and copy the images that they make to ``target``.

    Existing files in ``target`` are removed.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for page in pages:
        _make_pictures(page, target)


def _make_pictures(page: Path, target: Path) -> None:
    names: dict[str, Any] = {}
    with _elsewhere(), warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if language == "python":
                exec(compile(text, str(page), "exec"), names)  # noqa: S102 - our own page
            else:
                _run(text)
        for made in Path().iterdir():
            if made.suffix in _PICTURES:
                shutil.copy(made, target)


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Change to a temporary directory."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            yield
        finally:
            os.chdir(before)


def _run(text: str) -> None:
    """Run the commands of a block that begin with ``ndx-sim`` or ``python examples/``."""
    for line in text.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line.removeprefix("$ ")) or [""]
        if program == "ndx-sim" and line.startswith("$"):
            result = CliRunner().invoke(main, arguments)
            if result.exit_code:
                msg = f"{line} ended with status {result.exit_code}: {result.output}"
                raise RuntimeError(msg)
        elif program == "python" and line.startswith("$"):
            runpy.run_path(str(_ROOT / arguments[0]), run_name="__main__")
