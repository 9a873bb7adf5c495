"""The modules that users import: the Python reference describes what is in their ``__all__``."""

import importlib
import inspect
import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from hdmf.container import AbstractContainer

import ndx_simulation_output
import nwbext_simulation_output

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>\w+):: (?P<name>[\w.]+)(?:\(\))?\n(?P<options>(?:[ ]+:?.*\n)*)", re.MULTILINE
)
ELSEWHERE = {"ndx_simulation_output.errors", "nwbext_simulation_output"}
"""Modules that users import and other pages describe."""
WITH_OTHERS = {
    "ndx_simulation_output.neuroconv": "neuroconv",
    "ndx_simulation_output.storage.zarr_chunks": "zarr",
}
"""Modules that can be imported only where another package is installed."""


def all_modules() -> dict[str, ModuleType]:
    found = pkgutil.walk_packages(ndx_simulation_output.__path__, "ndx_simulation_output.")
    names = ["ndx_simulation_output", "nwbext_simulation_output", *(info.name for info in found)]
    return {
        name: importlib.import_module(name)
        for name in names
        if "._" not in name
        if name not in WITH_OTHERS or find_spec(WITH_OTHERS[name]) is not None
    }


def names_of_the_reference() -> dict[str, set[str]]:
    """Return the names that the reference describes, by module."""
    names: dict[str, set[str]] = {}
    current = ""
    pages = "".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))
    for found in DIRECTIVE.finditer(pages):
        kind, name, options = found["kind"], found["name"], found["options"]
        if kind == "currentmodule":
            current = name
        elif kind == "automodule":
            current = name
            members = re.search(r":members:([\w,\s]+)", options)
            names.setdefault(name, set()).update(
                re.findall(r"\w+", members[1] if members is not None else "")
            )
        else:
            module, _, last = name.rpartition(".")
            names.setdefault(module or current, set()).add(last)
    return names


MODULES = all_modules()
DESCRIBED = names_of_the_reference()
PUBLIC = {
    name: module for name, module in MODULES.items() if name in DESCRIBED or name in ELSEWHERE
}


def by_kind(name: str) -> tuple[int, str]:
    """Constants before classes before functions, as ruff sorts ``__all__``."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_the_top_level_offers_what_the_design_promises():
    promised = {"CompartmentSeries", "Compartments", "SimulationMetaData"}
    promised |= {"SimulationOutputError", "convert", "export_sonata", "open_output"}

    assert promised <= set(ndx_simulation_output.__all__)
    assert set(nwbext_simulation_output.__all__) >= {"CompartmentSeries", "Compartments"}
    for name in ("CompartmentSeries", "Compartments", "SimulationMetaData"):
        assert getattr(nwbext_simulation_output, name) is getattr(ndx_simulation_output, name)


def test_every_module_has_a_docstring():
    assert [name for name, module in MODULES.items() if not inspect.getdoc(module)] == []


def test_only_the_modules_that_users_import_have_all():
    with_all = {name for name, module in MODULES.items() if hasattr(module, "__all__")}
    expected = {*DESCRIBED, *ELSEWHERE}

    assert "ndx_simulation_output.plots" in DESCRIBED
    assert with_all - expected == set()
    assert expected - with_all <= set(WITH_OTHERS) - set(MODULES)


def test_all_is_in_order_and_holds_the_names_of_the_reference():
    for name, module in PUBLIC.items():
        listed = list(module.__all__)

        assert listed == sorted(set(listed), key=by_kind), name
        assert DESCRIBED.get(name, set()) - set(listed) == set(), name


def test_every_public_class_and_function_has_a_docstring():
    for name, module in PUBLIC.items():
        values = {listed: getattr(module, listed) for listed in module.__all__}
        silent = [
            listed
            for listed, value in values.items()
            if (inspect.isclass(value) or inspect.isroutine(value))
            and not vars(value).get("__doc__")
            if not (inspect.isroutine(value) and value.__doc__)
        ]

        assert silent == [], name


def test_no_module_exposes_a_generated_class():
    for name, module in MODULES.items():
        generated = [
            exposed
            for exposed, value in vars(module).items()
            if not exposed.startswith("_")
            and inspect.isclass(value)
            and issubclass(value, AbstractContainer)
            and value.__module__ == "abc"
        ]

        assert generated == [], name
