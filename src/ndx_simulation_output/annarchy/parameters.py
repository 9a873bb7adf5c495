"""Global parameters of a network of ANNarchy that is in memory, as JSON."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ndx_simulation_output.adapters import annarchy as adapter
from ndx_simulation_output.errors import SimulationOutputWarning, SourceError
from ndx_simulation_output.files import whole_file

__all__ = ["load_parameters", "save_parameters"]


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
    declared = adapter.declarations(adapter.find_network(network))
    text = adapter.parameters_text(adapter.parameters_of(declared, own=own))
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
    parameters = adapter.parse_parameters(text, str(source))
    notes = adapter.set_parameters(
        adapter.find_network(network), parameters, global_only=global_only
    )
    if notes:
        warnings.warn(f"{source}: {'; '.join(notes)}", SimulationOutputWarning, stacklevel=2)
    return dict(parameters.network)
