"""Load the namespace from the YAML under ``spec/``."""

from importlib import resources
from pathlib import Path
from typing import Any

from hdmf.utils import docval, get_docval
from pynwb import get_class, load_namespaces

# The namespace, loaded from the YAML under ``spec/``, and how its constructors are declared.

NAMESPACE = "ndx-simulation-output"

declare: Any = docval
"""hdmf's ``docval``, which declares and checks the arguments of a constructor."""


def _spec_file() -> Path:
    name = f"{NAMESPACE}.namespace.yaml"
    packaged = Path(str(resources.files("ndx_simulation_output"))) / "spec" / name
    # In an editable install the YAML stays at the root of the checkout.
    return packaged if packaged.exists() else Path(__file__).parents[4] / "spec" / name


load_namespaces(str(_spec_file()))


def generated(name: str) -> Any:
    """Make the class of a type from the YAML: only to be subclassed, registered and kept private.

    Once a subclass is registered, an instance of the generated class would be written as a type of
    the core, and validation would not notice.
    """
    return get_class(name, NAMESPACE)


def optional(base: Any, **defaults: Any) -> tuple[dict[str, Any], ...]:
    """Arguments of the constructor of ``base``, those in ``defaults`` made optional."""
    arguments = [dict(argument) for argument in get_docval(base.__init__)]
    for argument in arguments:
        if argument["name"] in defaults:
            argument["default"] = defaults[argument["name"]]
    return tuple(sorted(arguments, key=lambda argument: "default" in argument))


def accepting(base: Any, **types: Any) -> tuple[dict[str, Any], ...]:
    """Arguments of the constructor of ``base``, but its name, that accept further ``types``."""
    arguments = [dict(argument) for argument in get_docval(base.__init__)]
    for argument in arguments:
        if argument["name"] in types:
            known = argument["type"]
            known = known if isinstance(known, (tuple, list)) else (known,)
            argument["type"] = (*known, types[argument["name"]])
    return tuple(argument for argument in arguments if argument["name"] != "name")
