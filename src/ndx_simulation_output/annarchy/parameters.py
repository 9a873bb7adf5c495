"""Global parameters of a network as JSON, as in ANNarchy's ``save_parameters``."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import float_info
from typing import Any

import numpy as np

from ndx_simulation_output.annarchy.network import LiveNetwork, declared_snapshot, find_network
from ndx_simulation_output.annarchy.reading import check_distinct
from ndx_simulation_output.errors import SimulationOutputWarning, SourceError, source_errors
from ndx_simulation_output.files import atomic_file
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.network import NetworkPart


@dataclass(frozen=True)
class Parameters:
    """Values by the name of the population or projection, and then by that of the parameter.

    Attributes
    ----------
    populations, projections
        ``{"exc": {"tau": 20.0}}``.
    network
        Values that the user adds, of no population or projection.
    constants
        Constants of the network.

    """

    populations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    projections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)


def save_parameters(
    target: str | Path,
    network: Any = None,
    *,
    own: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Save the current values of global parameters as JSON that ANNarchy can load.

    ANNarchy's own ``save_parameters`` saves the declared values instead.

    Parameters
    ----------
    target
        The JSON file to write.
    network
        A ``Network``, ``Population`` or ``Projection``, compiled or not; None for the implicit
        network, as in scripts for ANNarchy 4.
    own
        Additional values for the section ``network`` of the file.
    overwrite
        Replace an existing file.

    Raises
    ------
    RecordingError
        If ``network`` has no populations, or has another type.
    NameClashError
        If two populations or projections have the same name.
    TargetExistsError
        If the file exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> save_parameters("network.json", network)  # doctest: +SKIP

    """
    text = parameters_text(parameters_of(declared_snapshot(find_network(network)), own=own))
    with atomic_file(Path(target), overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def load_parameters(
    source: str | Path, network: Any = None, *, global_only: bool = True
) -> dict[str, Any]:
    """Set the global parameters of a network from JSON, and return the section ``network``.

    A warning lists the values that were not set, such as those of variables and unknown names.

    Parameters
    ----------
    source
        A JSON file of ANNarchy or of ``save_parameters``.
    network
        A ``Network``, ``Population`` or ``Projection``, compiled or not; None for the implicit
        network, as in scripts for ANNarchy 4.
    global_only
        If false, local parameters are set too: all neurons or synapses get the same value.

    Raises
    ------
    SourceError
        If the file cannot be read, or is not JSON with these sections.
    RecordingError
        If ``network`` has no populations, or has another type.
    NameClashError
        If two populations or projections have the same name.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> own = load_parameters("network.json", network)  # doctest: +SKIP

    """
    with source_errors(f"{source} cannot be read"):
        text = Path(source).read_text(encoding="utf-8")
    parameters = parse_parameters(text, str(source))
    notes = _set_parameters(find_network(network), parameters, global_only=global_only)
    if notes:
        warnings.warn(f"{source}: {'; '.join(notes)}", SimulationOutputWarning, stacklevel=2)
    return dict(parameters.network)


def parameters_of(network: NetworkSnapshot, *, own: Mapping[str, Any] | None = None) -> Parameters:
    """Return the current values of the global parameters and variables of a state.

    ``own`` are additional values for ``Parameters.network``.

    Raises
    ------
    NameClashError
        If two populations or projections have the same name.

    """
    return Parameters(
        _global_values("populations", network.populations),
        _global_values("projections", network.projections),
        dict(own or {}),
        dict(network.constants),
    )


def parameters_text(parameters: Parameters) -> str:
    """Return parameters as JSON for ANNarchy's ``load_parameters``.

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
    sections = {name: dict(getattr(parameters, name)) for name in Parameters.__dataclass_fields__}
    return json.dumps(sections, indent=4)


def parse_parameters(text: str, where: str) -> Parameters:
    """Return the parameters in JSON of ANNarchy's ``save_parameters``.

    Sections may be missing, and unknown ones are ignored. ``where`` names the text in errors.

    Raises
    ------
    SourceError
        If the text is not JSON, or a section does not map names to values.

    """
    with source_errors(f"{where} is not JSON of parameters"):
        found = json.loads(text, object_pairs_hook=_distinct)
    found = _mapping(found, where)
    sections: dict[str, dict[str, Any]] = {}
    for name in Parameters.__dataclass_fields__:
        sections[name] = _mapping(found.get(name, {}), f"{name} in {where}")
    for name in ("populations", "projections"):
        for part, values in sections[name].items():
            _mapping(values, f"{part} in {name} in {where}")
    return Parameters(**sections)


def with_parameters(
    network: NetworkSnapshot, parameters: Parameters, *, global_only: bool = True
) -> tuple[NetworkSnapshot, tuple[str, ...]]:
    """Return a copy of a state with other parameters, and notes on the values that were not set.

    Variables are not set, nor local parameters unless ``global_only`` is false: then all neurons or
    synapses get the same value.

    Raises
    ------
    NameClashError
        If two populations or projections have the same name.

    """
    notes: list[str] = []
    check_distinct("populations", (part.name for part in network.populations))
    check_distinct("projections", (part.name for part in network.projections))
    constants = dict(network.constants)
    for name, value in parameters.constants.items():
        if name not in constants:
            notes.append(f"not set: constant {name} is not in the network")
        elif not _is_number(value):
            notes.append(f"not set: constant {name} is {value!r}, which is not a number")
        else:
            constants[name] = float(value)

    def changed(
        kind: str, parts: tuple[NetworkPart, ...], values: Mapping[str, Any]
    ) -> list[NetworkPart]:
        names = {part.name for part in parts}
        unknown = [name for name in values if name not in names]
        notes.extend(f"not set: {kind} {name} is not in the network" for name in unknown)
        return [
            _with_values(part, f"{kind} {part.name}", values.get(part.name, {}), notes, global_only)
            for part in parts
        ]

    return (
        replace(
            network,
            populations=tuple(changed("population", network.populations, parameters.populations)),
            projections=tuple(changed("projection", network.projections, parameters.projections)),
            constants=constants,
        ),
        tuple(notes),
    )


def _set_parameters(
    live: LiveNetwork, parameters: Parameters, *, global_only: bool
) -> tuple[str, ...]:
    """Set parameters of a network in memory; return notes on values that were not set."""
    before = declared_snapshot(live)
    after, notes = with_parameters(before, parameters, global_only=global_only)
    parts: list[Any] = [*live.populations, *live.projections]
    for part, old, new in zip(parts, before.parts, after.parts, strict=True):
        values = {
            quantity.name: np.asarray(quantity.values[()]).ravel()[0].item()
            for quantity, unchanged in zip(new.quantities, old.quantities, strict=True)
            if quantity is not unchanged
        }
        if values:
            part.set(values)
    for constant in live.constants:
        if constant.name in parameters.constants:
            constant.set(after.constants[constant.name])
    return notes


def _global_values(
    plural: str,
    parts: Sequence[PopulationSnapshot | ProjectionSnapshot],
) -> dict[str, dict[str, Any]]:
    check_distinct(plural, (part.name for part in parts))
    return {
        part.name: {
            quantity.name: np.asarray(quantity.values[()]).item()
            for quantity in part.quantities
            if quantity.locality == "global"
        }
        for part in parts
    }


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the values by name; JSON itself would keep the last value of a repeated name."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        msg = f"{repeated!r} is there more than once"
        raise ValueError(msg)
    return values


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{where} is a {type(value).__name__}; expected names and values"
        raise SourceError(msg)
    return value


def _with_values(
    part: NetworkPart,
    where: str,
    values: Mapping[str, Any],
    notes: list[str],
    global_only: bool,  # noqa: FBT001 - passed on
) -> NetworkPart:
    names = {quantity.name for quantity in part.quantities}
    notes += [f"not set: {name} of {where} is not known" for name in values if name not in names]
    quantities = []
    for quantity in part.quantities:
        changed = quantity
        if quantity.name in values:
            value = values[quantity.name]
            reason = _reason_not_to_set(quantity, value, global_only=global_only)
            if reason is None:
                array = np.full(quantity.values.shape, value, quantity.values.dtype)
                changed = replace(quantity, values=array)
            else:
                notes.append(f"not set: {quantity.name} of {where} is {reason}")
        quantities.append(changed)
    return replace(part, quantities=tuple(quantities))


def _reason_not_to_set(quantity: Quantity, value: Any, *, global_only: bool) -> str | None:
    dtype = quantity.values.dtype
    if quantity.kind == "variable":
        return "a variable"
    if quantity.locality != "global" and global_only:
        return quantity.locality
    if not _is_number(value) or not _fits(value, dtype):
        return f"{value!r}, which is not of type {dtype}"
    return None


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return value in {0, 1}
    if isinstance(value, bool):
        return False
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return float(value).is_integer() and limits.min <= value <= limits.max
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) and abs(value) <= float_info.max
