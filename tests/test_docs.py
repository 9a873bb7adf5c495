"""The README and the documentation say what is so: their code runs and prints what they show.

On a page, blocks run in order, in one directory:

- ``python`` is run,
- ``pycon`` is run, and prints what it shows,
- ``console``: lines that begin with ``$ ndx-sim``, ``$ dandi`` or ``$ python examples/`` are run,
  and print what stands below them; where nothing does, they must succeed.

``...`` stands for any text. Comments on the lines before a block say more:
``<!-- not run: reason -->`` leaves it out, ``<!-- needs: module -->`` does so where that is not
installed, ``<!-- file: name -->`` writes it to that file, ``<!-- copied: path -->`` copies a file
of the repository first.
"""

import doctest
import gc
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from docs.schema_page import schema_page
from ndx_simulation_output import errors
from ndx_simulation_output.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "schema.md" and "_build" not in page.parts]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(
    r"(?P<marks>(?:^<!-- [^\n]* -->\n)*)^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MARK = re.compile(r"<!-- ([\w ]+): (.*) -->")


@dataclass(frozen=True)
class Block:
    """A block of code: its language, the marks before it, its text and its line."""

    language: str
    marks: dict[str, str]
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"],
            dict(MARK.findall(found["marks"])),
            found["text"],
            text.count("\n", 0, found.start("text")) + 1,
        )
        for found in BLOCK.finditer(text)
    ]


def run(block: Block, page: Path, names: dict) -> None:
    if block.language == "python":
        run_python(block, page, names)
    elif block.language == "pycon":
        run_pycon(block, page, names)
    elif block.language == "console":
        run_console(block)


def is_there(module: str | None) -> bool:
    return module is None or find_spec(module) is not None


def run_python(block: Block, page: Path, names: dict) -> None:
    lines = "\n" * (block.line - 1)
    exec(compile(lines + block.text, str(page), "exec"), names)  # noqa: S102 - our own pages


def run_pycon(block: Block, page: Path, names: dict) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), block.line)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert not said, "".join(said)


def run_console(block: Block) -> None:
    for command, expected in commands(block.text):
        status, found = run_command(*shlex.split(command))
        if expected:
            assert doctest.OutputChecker().check_output(expected, found, FLAGS), (command, found)
        else:
            assert status == 0, (command, found)


def run_command(program: str, *arguments: str) -> tuple[int, str]:
    """Give the exit status of a command, and what it printed."""
    if program == "dandi":
        command = [Path(sys.executable).with_name(program), *arguments]
        offline = {**os.environ, "DANDI_NO_ET": "1", "NO_ET": "1"}
        done = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr + done.stdout
    if program == "python":
        command = [sys.executable, ROOT / arguments[0], *arguments[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr + done.stdout
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def commands(text: str) -> list[tuple[str, str]]:
    """Give the commands of a console block that are run, each with the output shown below it."""
    parts = re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]
    pairs = [part.partition("\n") for part in parts]
    run_here = ("ndx-sim ", "dandi ", "python examples/")
    return [(command, shown) for command, _, shown in pairs if command.startswith(run_here)]


@pytest.fixture
def alone():
    """Leave no model of NEURON to the next page."""
    yield
    if "neuron" in sys.modules:
        from tests.neuron.models import clean

        with clean():
            gc.collect()


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@pytest.mark.filterwarnings("ignore:EnumData is experimental")  # pynwb reads categories of cells.
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch, alone):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}

    for block in blocks(page):
        if "copied" in block.marks:
            shutil.copy(ROOT / block.marks["copied"], tmp_path)
        if "file" in block.marks:
            Path(block.marks["file"]).parent.mkdir(exist_ok=True)
            Path(block.marks["file"]).write_text(block.text, encoding="utf-8")
        elif "not run" not in block.marks and is_there(block.marks.get("needs")):
            run(block, page, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_files_that_exist(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:src|spec|tests|benchmarks|examples|docs|\.ci)/[\w./-]+)`", text))
    linked = {
        link.partition("#")[0]
        for link in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", text)
        if not link.endswith("schema.md")
    }

    missing = {name for name in named if not (ROOT / name).exists()}
    missing |= {link for link in linked if link and not (page.parent / link).exists()}

    assert not missing


def test_the_reading_of_sonata_names_functions_that_exist():
    text = (ROOT / "docs" / "explanation" / "reading-of-sonata.md").read_text(encoding="utf-8")
    held = re.findall(r"`(\w+\.py)`: ((?:`\w+`(?:, )?)+)", text)
    folder = ROOT / "src" / "ndx_simulation_output" / "sonata"

    assert held
    for name, functions in held:
        source = (folder / name).read_text(encoding="utf-8")
        for function in re.findall(r"\w+", functions):
            assert re.search(rf"^(?:def |class |    def )?{function}\b", source, re.MULTILINE), (
                name,
                function,
            )


def test_the_schema_page_tells_of_every_type_and_column():
    page = schema_page(ROOT / "spec")

    for name in ("Compartments", "CompartmentSeries", "SimulationMetaData", "LabeledArray"):
        assert f"## {name}" in page
    for name in ("number", "position", "label", "diameter", "simulator", "provenance"):
        assert f"| `{name}` |" in page


def test_every_error_and_warning_has_a_line_on_its_page():
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")

    assert [name for name in errors.__all__ if f"`{name}`" not in page] == []


def test_the_citation_names_this_version():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    shown = (ROOT / "docs" / "cite.md").read_text(encoding="utf-8")
    version = re.findall(r'^version = "(.*)"', project, re.MULTILINE)

    assert re.findall(r"^version: (.*)", cited, re.MULTILINE) == version
    assert re.findall(r"version = \{(.*)\}", shown) == version
