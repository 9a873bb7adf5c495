"""The measurements of the source tree count what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FILES = {
    "__init__.py": '"""A package."""\n\nfrom pack.first import Thing\n\n__all__ = ["Thing"]\n',
    "first.py": '"""One.\n\nTwo.\n"""\n\n# why\nclass Thing:  # a comment beside code\n    pass\n',
    "second.py": "from pack.third import Kind\n\nThing = int\n",
    "third.py": "from pack import fourth\n\nKind = str\n",
    "fourth.py": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from pack.second import Thing\n"
    ),
    "inner/__init__.py": "",
    "inner/first.py": "def read():\n    from pack.inner import first\n    return first\n",
}
MEASURE = """
import json, sys
from pathlib import Path
import house
modules = house.read_modules(Path(sys.argv[1]))
graph = house.import_graph(modules)
found = {"circles": house.find_circles(graph), "collisions": house.find_collisions(modules)}
print(json.dumps(found | {"graph": graph, "lines": house.count_lines(modules)}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    source = tmp_path_factory.mktemp("src")
    for name, text in FILES.items():
        path = source / "pack" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    # In a process of its own: the modules of the benchmarks have names that libraries have too.
    command = [sys.executable, "-c", MEASURE, str(source)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_circles_include_imports_for_types_only(found):
    assert found["circles"] == [["pack.fourth", "pack.second", "pack.third"]]
    assert found["graph"]["pack.fourth"] == {"pack.second": "TYPE_CHECKING"}


def test_names_defined_in_two_modules_are_found(found):
    collisions = found["collisions"]

    assert collisions["Class and alias names"] == {"Thing": ["pack.first", "pack.second"]}
    assert collisions["Module and package names"] == {"first": ["pack.first", "pack.inner.first"]}


def test_lines_are_code_docstrings_or_comments(found):
    lines = found["lines"]

    assert lines["files"] == len(FILES)
    assert lines["docstring lines"] == 5
    assert lines["comment lines"] == 1
    assert lines["code lines"] == 14


def test_this_checkout_can_be_measured():
    command = [sys.executable, str(BENCHMARKS / "house.py"), "--json", "--no-tests"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)["rows"]

    assert rows["modules loaded by one `convert`"] >= rows["modules run by one `convert`"] > 0
    assert rows["modules loaded by one `get_traces`"] >= rows["modules run by one `get_traces`"] > 0
    assert rows["test items"] is None
