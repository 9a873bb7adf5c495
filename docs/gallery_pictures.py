"""Make the images of the gallery by running the commands on its page."""

import os
import re
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ndx_simulation_output import SimulationOutputWarning
from ndx_simulation_output.cli import main

__all__ = ["make_pictures"]

_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURES = {".png", ".gif"}


def make_pictures(page: Path, target: Path) -> None:
    """Run the blocks of a page in order, and copy the images that they make to ``target``.

    Existing files in ``target`` are removed.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
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
    for command in text.replace("\\\n", " ").splitlines():
        result = CliRunner().invoke(main, shlex.split(command.removeprefix("$ "))[1:])
        if result.exit_code:
            msg = f"{command} ended with status {result.exit_code}: {result.output}"
            raise RuntimeError(msg)
