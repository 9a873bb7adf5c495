"""Parameters of a network as JSON."""

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import float_info
from typing import Any

import numpy as np

from ndx_simulation_output.annarchy.network import LiveNetwork, declarations, find_network
from ndx_simulation_output.errors import NameClashError, SimulationOutputWarning, SourceError
from ndx_simulation_output.files import whole_file
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)

# The JSON of ANNarchy's ``save_parameters``, of a network and back into it.

_Parts = dict[str, dict[str, Any]]
_Part = PopulationSnapshot | ProjectionSnapshot


@dataclass(frozen=True)
class Parameters:
    """Values by the name of the population or projection, and then that of the quantity.

    ``network`` holds whatever its user put there; ``constants`` are those of the network.
    """

    populations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    projections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)


def parameters_of(network: NetworkSnapshot, *, own: Mapping[str, Any] | None = None) -> Parameters:
    """Give the global quantities of a network with their current values.

    ANNarchy itself saves the values of the declarations, whatever they are now. ``own`` are values
    for ``Parameters.network``.

    Raises
    ------
    NameClashError
        If two populations, or two projections, have the same name.

    """
    return Parameters(
        _globals_of(network.populations),
        _globals_of(network.projections),
        dict(own or {}),
        dict(network.constants),
    )


def parameters_text(parameters: Parameters) -> str:
    """Write parameters as ANNarchy does, for its ``load_parameters``.

    Example
    -------
    >>> print(parameters_text(Parameters({"exc": {"tau": 20.0}})))
    {
        "populations": {
            "exc": {
                "tau": 20.0
            }
        },
        "projections": {},
        "network": {},
        "constants": {}
    }

    """
    return json.dumps(
        {
            "populations": dict(parameters.populations),
            "projections": dict(parameters.projections),
            "network": dict(parameters.network),
            "constants": dict(parameters.constants),
        },
        indent=4,
    )


def parse_parameters(text: str, where: str) -> Parameters:
    """Read parameters that ANNarchy has written; ``where`` is what the text is called in errors.

    Sections may be missing, others are left out.

    Raises
    ------
    SourceError
        If it is not JSON, or a section is not made of names and their values.

    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not JSON: {error}"
        raise SourceError(msg) from error
    if not isinstance(found, dict):
        msg = f"{where} holds a {type(found).__name__}; expected populations and projections"
        raise SourceError(msg)
    sections: dict[str, dict[str, Any]] = {}
    for name in Parameters.__dataclass_fields__:
        sections[name] = _section(found.get(name, {}), f"{name} of {where}")
    for name in ("populations", "projections"):
        for part, values in sections[name].items():
            _section(values, f"{part} in {name} of {where}")
    return Parameters(**sections)


def with_parameters(
    network: NetworkSnapshot, parameters: Parameters, *, global_only: bool = True
) -> tuple[NetworkSnapshot, tuple[str, ...]]:
    """Set parameters of a network; give it, and notes on each value that was not set.

    Only global parameters are set. With ``global_only`` false local ones are too, each to the one
    value for all neurons or synapses. Variables are not set, and constants only if they are known.

    Raises
    ------
    NameClashError
        If two populations, or two projections, have the same name.

    """
    notes: list[str] = []
    _check_names(network.populations)
    _check_names(network.projections)
    constants = dict(network.constants)
    for name, value in parameters.constants.items():
        if name not in constants or not _is_number(value):
            reason = "is no number" if name in constants else "is not in the network"
            notes.append(f"not set: constant {name} {reason}")
            continue
        constants[name] = float(value)
    changed = replace(
        network,
        populations=_changed(
            "population", network.populations, parameters.populations, notes, global_only
        ),
        projections=_changed(
            "projection", network.projections, parameters.projections, notes, global_only
        ),
        constants=constants,
    )
    return changed, tuple(notes)


def _globals_of(parts: Iterable[_Part]) -> _Parts:
    parts = tuple(parts)
    _check_names(parts)
    return {
        part.name: {
            quantity.name: np.asarray(quantity.values[()]).item()
            for quantity in part.quantities
            if quantity.locality == "global"
        }
        for part in parts
    }


def _check_names(parts: Iterable[_Part]) -> None:
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            msg = f"{names.count(name)} parts are named {name!r}; expected a name for each"
            raise NameClashError(msg)


def _section(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{where} is a {type(value).__name__}; expected names and their values"
        raise SourceError(msg)
    return value


def _changed(
    what: str,
    parts: tuple[Any, ...],
    values: Mapping[str, Mapping[str, Any]],
    notes: list[str],
    global_only: bool,  # noqa: FBT001 - of the caller
) -> tuple[Any, ...]:
    known = {part.name for part in parts}
    notes += [
        f"not set: {what} {name} is not in the network" for name in values if name not in known
    ]
    made = []
    for part in parts:
        wanted = values.get(part.name, {})
        names = {quantity.name for quantity in part.quantities}
        where = f"of {what} {part.name}"
        notes += [f"not set: {name} {where} is not known" for name in wanted if name not in names]
        quantities = tuple(
            _set(quantity, wanted[quantity.name], where, notes, global_only=global_only)
            if quantity.name in wanted
            else quantity
            for quantity in part.quantities
        )
        made.append(replace(part, quantities=quantities))
    return tuple(made)


def _set(
    quantity: Quantity, value: Any, where: str, notes: list[str], *, global_only: bool
) -> Quantity:
    reason = None
    dtype = quantity.values.dtype
    if quantity.kind == "variable":
        reason = "is a variable"
    elif quantity.locality != "global" and global_only:
        reason = f"is {quantity.locality}"
    elif not _is_number(value) or not _fits(value, dtype):
        reason = f"is {value!r}, which is no {dtype}"
    if reason is not None:
        notes.append(f"not set: {quantity.name} {where} {reason}")
        return quantity
    return replace(quantity, values=np.full(quantity.values.shape, value, dtype))


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return value in {0, 1}
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return float(value).is_integer() and limits.min <= value <= limits.max
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) and abs(value) <= float_info.max


# Parameters of a JSON text set in a network of ANNarchy that is in memory.


def set_parameters(
    live: LiveNetwork, parameters: Parameters, *, global_only: bool = True
) -> tuple[str, ...]:
    """Set parameters of a network, compiled or not; give notes on each value that was not set.

    With ``global_only`` false local ones are set too, to one value for all neurons or synapses.

    Raises
    ------
    NameClashError
        If two populations, or two projections, have the same name.

    """
    before = declarations(live)
    after, notes = with_parameters(before, parameters, global_only=global_only)
    parts: list[Any] = [*live.populations, *live.projections]
    for part, old, new in zip(parts, before.parts, after.parts, strict=True):
        values = {
            quantity.name: np.asarray(quantity.values[()]).ravel()[0].item()
            for quantity, known in zip(new.quantities, old.quantities, strict=True)
            # What was not set is the very same object.
            if quantity is not known
        }
        if values:
            part.set(values)
    for constant in live.constants:
        if constant.name in parameters.constants:
            constant.set(after.constants[constant.name])
    return notes


# Global parameters of a network of ANNarchy that is in memory, as JSON.


def save_parameters(
    target: str | Path,
    network: Any = None,
    *,
    own: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Save global parameters as the JSON of ANNarchy's ``save_parameters``, with current values.

    ANNarchy itself saves the values of the declarations. ``own`` becomes the section ``network``.

    Raises
    ------
    RecordingError
        If it is no network with populations, or part of one.
    NameClashError
        If two parts have the same name.
    TargetExistsError
        If the file exists and ``overwrite`` is false.
    WriteError
        If it cannot be written.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> save_parameters("network.json", network)  # doctest: +SKIP

    """
    declared = declarations(find_network(network))
    text = parameters_text(parameters_of(declared, own=own))
    with whole_file(Path(target), overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def load_parameters(
    source: str | Path, network: Any = None, *, global_only: bool = True
) -> dict[str, Any]:
    """Set global parameters of a network, compiled or not, from JSON; give its ``network`` section.

    With ``global_only`` false local parameters are set too, each to one value for all neurons or
    synapses. A warning lists what is not set: names that the network does not have, variables.

    Raises
    ------
    SourceError
        If the file cannot be read, or is no such JSON.
    RecordingError
        If it is no network with populations, or part of one.
    NameClashError
        If two parts have the same name.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> own = load_parameters("network.json", network)  # doctest: +SKIP

    """
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{source} cannot be read: {error}"
        raise SourceError(msg) from error
    parameters = parse_parameters(text, str(source))
    notes = set_parameters(find_network(network), parameters, global_only=global_only)
    if notes:
        warnings.warn(f"{source}: {'; '.join(notes)}", SimulationOutputWarning, stacklevel=2)
    return dict(parameters.network)
