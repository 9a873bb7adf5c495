"""Public means listed: what each module offers is in its sorted ``__all__``, and documented."""

import ast
import importlib
import inspect
import pkgutil
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import click
import pytest
from hdmf.container import AbstractContainer

import ndx_simulation_output
import nwbext_simulation_output

WITH_OTHERS = {"ndx_simulation_output.neuroconv": "neuroconv"}
"""Modules that can be imported only where another package is installed."""


def public_modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(ndx_simulation_output.__path__, "ndx_simulation_output.")
    names = [info.name for info in found if "._" not in info.name]
    modules = [
        importlib.import_module(name)
        for name in names
        if name not in WITH_OTHERS or find_spec(WITH_OTHERS[name]) is not None
    ]
    return [ndx_simulation_output, nwbext_simulation_output, *modules]


MODULES = public_modules()
WITH_NAMES = [module for module in MODULES if hasattr(module, "__all__")]


def by_kind(name: str) -> tuple[int, str]:
    """Constants before classes before functions, as ruff sorts ``__all__``."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def defined_names(module: ModuleType) -> set[str]:
    """Names that a module defines at its top level, without those it imports."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def id_of(module: ModuleType) -> str:
    return module.__name__


def test_the_top_level_offers_what_the_design_promises():
    promised = {"CompartmentSeries", "Compartments", "SimulationMetaData"}
    promised |= {"SimulationOutputError", "convert", "export_sonata", "open_output"}

    assert promised <= set(ndx_simulation_output.__all__)
    assert set(nwbext_simulation_output.__all__) >= {"CompartmentSeries", "Compartments"}


@pytest.mark.parametrize("module", MODULES, ids=id_of)
def test_every_module_says_what_it_is(module):
    assert inspect.getdoc(module)


@pytest.mark.parametrize("module", MODULES, ids=id_of)
def test_a_module_that_defines_public_names_lists_them(module):
    public = {name for name in defined_names(module) if not name.startswith("_")}
    # Subcommands are reached through their group, which is listed.
    public -= {name for name in public if isinstance(getattr(module, name), click.Command)}

    unlisted = public - set(getattr(module, "__all__", ()))

    assert unlisted == set()


@pytest.mark.parametrize("module", WITH_NAMES, ids=id_of)
def test_names_are_listed_in_order_and_exist(module):
    names = list(module.__all__)

    assert names == sorted(set(names), key=by_kind)
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("module", WITH_NAMES, ids=id_of)
def test_every_listed_class_and_function_has_a_docstring(module):
    listed = {name: getattr(module, name) for name in module.__all__}

    silent = [
        name
        for name, value in listed.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not vars(value).get("__doc__")
        if not (inspect.isroutine(value) and value.__doc__)
    ]

    assert silent == []


@pytest.mark.parametrize("module", MODULES, ids=id_of)
def test_no_module_exposes_a_generated_class(module):
    generated = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and inspect.isclass(value)
        and issubclass(value, AbstractContainer)
        and value.__module__ == "abc"
    ]

    assert generated == []


@pytest.mark.parametrize("name", ["CompartmentSeries", "Compartments", "SimulationMetaData"])
def test_both_import_names_give_the_same_class(name):
    assert getattr(nwbext_simulation_output, name) is getattr(ndx_simulation_output, name)
