"""The namespace, loaded from the YAML under ``spec/``, and the classes generated from it."""

from importlib import resources
from pathlib import Path
from typing import Any

from hdmf.utils import docval, get_docval
from pynwb import get_class, load_namespaces

NAMESPACE = "ndx-simulation-output"

declare: Any = docval
"""``docval`` of hdmf, untyped: declares and checks the arguments of a constructor."""


def _spec_file() -> Path:
    name = f"{NAMESPACE}.namespace.yaml"
    packaged = Path(str(resources.files("ndx_simulation_output"))) / "spec" / name
    # In an editable install the YAML stays at the root of the checkout.
    return packaged if packaged.exists() else Path(__file__).parents[4] / "spec" / name


load_namespaces(str(_spec_file()))


def generated(name: str) -> Any:
    """Return the class that pynwb generates for a type. Register a subclass and keep this private.

    Once a subclass is registered, instances of the generated class are written with the type of
    their base in the core schema, and validation does not report it.
    """
    return get_class(name, NAMESPACE)


def optional(base: Any, **defaults: Any) -> tuple[dict[str, Any], ...]:
    """Return the constructor arguments of ``base``, with ``defaults`` for some."""
    arguments = [dict(argument) for argument in get_docval(base.__init__)]
    for argument in arguments:
        if argument["name"] in defaults:
            argument["default"] = defaults[argument["name"]]
    return tuple(sorted(arguments, key=lambda argument: "default" in argument))


def accepting(base: Any, **types: Any) -> tuple[dict[str, Any], ...]:
    """Return the constructor arguments of ``base`` without its name, with further ``types``."""
    arguments = [dict(argument) for argument in get_docval(base.__init__)]
    for argument in arguments:
        if argument["name"] in types:
            known = argument["type"]
            known = known if isinstance(known, (tuple, list)) else (known,)
            argument["type"] = (*known, types[argument["name"]])
    return tuple(argument for argument in arguments if argument["name"] != "name")
