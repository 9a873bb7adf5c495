"""Measure the source tree: its size, its names, its imports, and the modules that one call runs.

`python benchmarks/house.py` measures the checkout that this file belongs to, and
`python benchmarks/house.py OLD NEW` prints two checkouts beside each other. A checkout is a
directory, or a file that `--json` made of one. Every checkout is measured in the environment that
runs this script, with the modules of the checkout itself.

The rows about one call count the modules of the package that are *loaded* when it has returned,
the modules that it *runs*, and the depth of calls. A module is run if a function or method written
in it is called after `import ndx_simulation_output`; methods that `dataclasses` generates and
class bodies do not count. The depth is the greatest number of frames of the package on the stack.
Imports count for circles wherever they stand: at the top, below `TYPE_CHECKING`, or in a function.
Only the module that an import statement names counts, not the packages above it.
"""

import ast
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import tokenize
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from inspect import CO_OPTIMIZED
from pathlib import Path
from statistics import median, quantiles
from types import FrameType

import click
from inputs.reports import write_report
from inputs.size import Size
from tables import table

__all__: list[str] = []

PACKAGE = "ndx_simulation_output"
HERE = Path(__file__).parents[1]
SMALL = Size(cells=3, compartments=4, frames=20)
LAYOUT_TOKENS = {
    tokenize.ENCODING,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
AT_IMPORT, TYPE_CHECKING, IN_FUNCTION = "", "TYPE_CHECKING", "in a function"

Definitions = dict[str, list[str]]
Graph = dict[str, dict[str, str]]
"""For each module the modules it imports, and how: at import, for types, or in a function."""


@dataclass(frozen=True)
class House:
    """What was measured in one checkout.

    ``rows`` has None where a number was not asked for. ``circles`` has one line for each group of
    modules that import each other. ``collisions`` has, by kind, each name and where it is defined.
    """

    name: str
    rows: dict[str, float | None]
    circles: list[str]
    collisions: dict[str, Definitions]


@dataclass(frozen=True)
class Module:
    """A source file of the package, by its dotted name."""

    name: str
    path: Path
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Calls:
    """Modules of the package that one call loaded and ran, and the depth of its stack."""

    loaded: int
    run: int
    depth: int


@click.command()
@click.argument("checkouts", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a Markdown table.")
@click.option("--names", is_flag=True, help="Also list the names defined in several modules.")
@click.option("--no-tests", is_flag=True, help="Do not count test items, which takes a minute.")
@click.option(
    "--test-minutes",
    multiple=True,
    type=float,
    help="Minutes of the test command, measured separately; once for each checkout.",
)
@click.option(
    "--gate-minutes",
    multiple=True,
    type=float,
    help="Minutes of the gate, likewise.",
)
def main(
    checkouts: tuple[Path, ...],
    *,
    as_json: bool,
    names: bool,
    no_tests: bool,
    test_minutes: tuple[float, ...],
    gate_minutes: tuple[float, ...],
) -> None:
    """Measure one or several checkouts of this project."""
    houses = [_house(path, with_tests=not no_tests) for path in checkouts or (HERE,)]
    for label, minutes in (("test command", test_minutes), ("gate", gate_minutes)):
        for house, number in zip(houses, minutes, strict=False):
            house.rows[f"minutes of the {label}"] = number
    if as_json:
        dumped = [asdict(house) for house in houses]
        click.echo(json.dumps(dumped if len(dumped) > 1 else dumped[0], indent=1))
        return
    click.echo(_rows_table(houses))
    for house in houses:
        click.echo(_listing(f"Import circles of {house.name}", house.circles))
        for kind, found in house.collisions.items() if names else ():
            lines = [f"`{name}`: {', '.join(where)}" for name, where in found.items()]
            click.echo(_listing(f"{kind} defined in several modules of {house.name}", lines))


def _house(path: Path, *, with_tests: bool) -> House:
    """Return the numbers of a checkout, or those saved in a JSON file."""
    if path.is_file():
        return House(**json.loads(path.read_text()))
    checkout = path.resolve()
    modules = read_modules(checkout / "src")
    graph, collisions = import_graph(modules), find_collisions(modules)
    circles = find_circles(graph)
    return House(
        checkout.name,
        {
            **count_lines(modules),
            "names in `__all__`": sum(len(exported(module.tree)) for module in modules),
            "file names used twice or more": _count_repeated_files(modules),
            "class and alias names defined twice or more": len(collisions["Class and alias names"]),
            **count_calls(checkout),
            "import circles": len(circles),
            "modules in import circles": sum(map(len, circles)),
            "test items": count_tests(checkout) if with_tests else None,
        },
        [_described(circle, graph) for circle in circles],
        collisions,
    )


def _rows_table(houses: Sequence[House]) -> str:
    labels = list(dict.fromkeys(label for house in houses for label in house.rows))
    rows = [[label, *(_number(house.rows.get(label)) for house in houses)] for label in labels]
    return table(["", *(house.name for house in houses)], rows)


def _number(number: float | None) -> str:
    return "n/a" if number is None else f"{number:,.1f}".removesuffix(".0")


def _listing(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"\n{title}: {len(lines)}", *(f"- {line}" for line in lines)])


# Lines and names


def read_modules(source: Path) -> list[Module]:
    """Return the modules under a source directory, in the order of their names."""
    modules = []
    for path in source.rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules.append(Module(name, path, text, ast.parse(text)))
    return sorted(modules, key=lambda module: module.name)


def count_lines(modules: Sequence[Module]) -> dict[str, float | None]:
    """Return the number and the sizes of files and functions."""
    counted = sum((line_kinds(module) for module in modules), Counter[str]())
    files = [len(module.text.splitlines()) for module in modules]
    functions = [lines for module in modules for lines in function_lengths(module.tree)]
    return {
        "files": len(files),
        "lines": sum(files),
        "code lines": counted["code"],
        "docstring lines": counted["docstring"],
        "comment lines": counted["comment"],
        "lines of a file, median": median(files),
        "lines of a file, p90": _p90(files),
        "lines of a function without its docstring, median": median(functions),
        "lines of a function without its docstring, p90": _p90(functions),
    }


def _p90(numbers: Sequence[int]) -> float:
    """Return the number that nine of ten do not exceed."""
    # Before Python 3.13 a single number has no quantiles.
    several = numbers if len(numbers) > 1 else [*numbers, *numbers]
    return quantiles(several, n=10, method="inclusive")[-1]


def line_kinds(module: Module) -> Counter[str]:
    """Count lines of code, of docstrings, and with nothing but a comment."""
    docstrings = {
        line
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Expr) and _text(node.value) is not None
        for line in range(node.lineno, node.lineno + _length(node))
    }
    code: set[int] = set()
    comments: set[int] = set()
    with module.path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                comments.add(token.start[0])
            elif token.type not in LAYOUT_TOKENS:
                code.update(range(token.start[0], token.end[0] + 1))
    code -= docstrings
    return Counter(code=len(code), docstring=len(docstrings), comment=len(comments - code))


def _text(node: ast.expr) -> str | None:
    """Return the value of a string literal, None for anything else."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else None


def function_lengths(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of each function, without its decorators and its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield _length(node) - (_length(node.body[0]) if ast.get_docstring(node) else 0)


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def exported(tree: ast.Module) -> list[str]:
    """Return the names that ``__all__`` spells out."""
    values = [value for name, value in _assigned(tree) if name == "__all__" and value]
    nodes = (node for value in values for node in ast.walk(value) if isinstance(node, ast.expr))
    return [text for node in nodes if (text := _text(node)) is not None]


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield each name that a module assigns, and the value."""
    for node in tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        for target in targets:
            if isinstance(target, ast.Name):
                yield target.id, getattr(node, "value", None)


def _count_repeated_files(modules: Sequence[Module]) -> int:
    names = Counter(module.path.name for module in modules)
    del names["__init__.py"]
    return sum(count > 1 for count in names.values())


def find_collisions(modules: Sequence[Module]) -> dict[str, Definitions]:
    """Return the names that several modules define, by kind, and the modules."""
    kinds: dict[str, defaultdict[str, list[str]]] = {
        "Module and package names": defaultdict(list),
        "Class and alias names": defaultdict(list),
        "Public function names": defaultdict(list),
    }
    for module in modules:
        short = module.name.removeprefix(f"{PACKAGE}.")
        kinds["Module and package names"][short.rpartition(".")[2]].append(short)
        for name in sorted(_classes_and_aliases(module.tree)):
            kinds["Class and alias names"][name].append(short)
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                kinds["Public function names"][node.name].append(short)
    return {kind: _repeated(found) for kind, found in kinds.items()}


def _classes_and_aliases(tree: ast.Module) -> set[str]:
    """Return the names of classes, and the names in CapWords that are assigned."""
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assigned = {name for name, _ in _assigned(tree)}
    return classes | {name for name in assigned if re.fullmatch("_*[A-Z]+[a-z].*", name)}


def _repeated(found: Mapping[str, list[str]]) -> Definitions:
    return {name: where for name, where in sorted(found.items()) if len(set(where)) > 1}


# Imports


def import_graph(modules: Sequence[Module]) -> Graph:
    """Return which module of the package imports which, wherever the import statement stands."""
    names = {module.name for module in modules}
    return {module.name: dict(_imports(module, names)) for module in modules}


def _imports(module: Module, names: set[str]) -> Iterator[tuple[str, str]]:
    """Yield what a module imports and how; what comes last is what matters most."""
    found = [
        (kind, target)
        for node, kind in _statements(module.tree, AT_IMPORT)
        for target in _targets(node, names)
        if target != module.name
    ]
    order = [IN_FUNCTION, TYPE_CHECKING, AT_IMPORT]
    for kind, target in sorted(found, key=lambda one: order.index(one[0])):
        yield target, kind


def _statements(parent: ast.AST, kind: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield import statements below a node, and how they import."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, kind
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _statements(node, IN_FUNCTION)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _statements(node, TYPE_CHECKING)
        else:
            yield from _statements(node, kind)


def _targets(node: ast.AST, names: set[str]) -> Iterator[str]:
    """Yield the modules of the package that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in names)
    elif isinstance(node, ast.ImportFrom) and node.module in names:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in names else node.module


def find_circles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def _reached(graph: Graph, name: str) -> set[str]:
    """Return every module that one module imports, itself only if it is in a circle."""
    seen: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        other = waiting.pop()
        if other not in seen:
            seen.add(other)
            waiting += graph[other]
    return seen


def _described(circle: Sequence[str], graph: Graph) -> str:
    """Return the imports between the modules of a circle in one line."""
    imports = [
        f"{name} → {other}" + (f" ({kind})" if kind else "")
        for name in circle
        for other, kind in graph[name].items()
        if other in circle
    ]
    return ", ".join(imports).replace(f"{PACKAGE}.", "")


# Calls and tests, each in a process of its own


def count_calls(checkout: Path) -> dict[str, float | None]:
    """Count the modules that convert a small SONATA report, and read traces of the NWB file."""
    with tempfile.TemporaryDirectory() as directory:
        report, target = Path(directory) / "report.h5", Path(directory) / "report.nwb"
        write_report(report, SMALL)
        found = {
            "`convert`": _in_new_process(checkout, "convert", report, target),
            "`get_traces`": _in_new_process(checkout, "get_traces", target),
        }
    return {
        f"{what} by one {call}": number
        for call, calls in found.items()
        for what, number in (
            ("modules loaded", calls.loaded),
            ("modules run", calls.run),
            ("depth of calls", calls.depth),
        )
    }


def _in_new_process(checkout: Path, call: str, *paths: Path) -> Calls:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(follow, checkout, call, *paths).result()


def follow(checkout: Path, call: str, *paths: Path) -> Calls:
    """Run one call with the package of a checkout, and count its modules."""
    sys.path.insert(0, str(checkout / "src"))
    package = import_module(PACKAGE)
    if not Path(str(package.__file__)).is_relative_to(checkout):
        msg = f"{PACKAGE} was imported from {package.__file__}; expected it below {checkout}"
        raise ImportError(msg, name=PACKAGE)
    run: set[str] = set()
    depths = [0]

    def note(frame: FrameType, event: str, _: object) -> None:
        code, name = frame.f_code, _module_of(frame)
        is_written = code.co_flags & CO_OPTIMIZED and code.co_filename != "<string>"
        if event == "call" and is_written and _is_ours(name):
            run.add(name)
            depths.append(_depth(frame))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            if call == "convert":
                package.convert(*paths)
            else:
                with package.open_output(*paths) as output:
                    output.reports[0].get_traces(cells=1)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return Calls(len(list(filter(_is_ours, sys.modules))), len(run), max(depths))


def _depth(frame: FrameType | None) -> int:
    """Return how many frames of the package are on the stack."""
    depth = 0
    while frame is not None:
        depth += _is_ours(_module_of(frame))
        frame = frame.f_back
    return depth


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def count_tests(checkout: Path) -> int:
    """Return how many items pytest collects in a checkout.

    Raises
    ------
    click.ClickException
        If it collects nothing, or fails.

    """
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Our own command.
    done = subprocess.run(  # noqa: S603
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    found = re.search(r"^(\d+) tests? collected", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        lines = (done.stdout + done.stderr).strip().splitlines()
        msg = f"pytest in {checkout} ended with status {done.returncode}: {lines[-1:]}"
        raise click.ClickException(msg)
    return int(found[1])


if __name__ == "__main__":
    main()
