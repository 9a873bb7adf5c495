"""Complete the names in the sources of a command in a shell: reports, populations, properties."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ndx_simulation_output.recording import SimulationOutput
    from ndx_simulation_output.recording.cells import CellTable

_Names = Callable[["SimulationOutput"], Iterable[str]]
_Completion = Callable[[click.Context, click.Parameter, str], list[str]]
_NOT_OPENING = {"cells", "population", "storage_options"}
_MOST_VALUES, _MOST_CELLS = 20, 10_000


def complete(names: _Names) -> _Completion:
    """Return the completion of an option whose values are names in the sources of the command.

    Nothing is printed: sources that are missing or damaged have no names.
    """

    def completed(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        del parameter
        from ndx_simulation_output.api import OpeningOptions, open_output

        opening = OpeningOptions.__annotations__.keys() - _NOT_OPENING
        options = {name: ctx.params[name] for name in opening if ctx.params.get(name) is not None}
        with warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("ignore")
            with open_output(list(_sources(ctx)), **options) as output:
                return sorted(
                    {name for name in names(output) if name and name.startswith(incomplete)}
                )
        return []

    return completed


def _sources(ctx: click.Context) -> Iterator[Path]:
    """Yield the existing files that a command has been given so far.

    They are the rest for click, because the last option has no value yet.
    """
    for path in ctx.args:
        if (found := Path(path).expanduser()).exists():
            yield found


def _cells(output: "SimulationOutput") -> Iterator[str]:
    """Yield node sets, and each property with its values, of those that have few."""
    import numpy as np

    yield from () if output.circuit is None else output.circuit.node_sets
    for table in _tables(output):
        for name in table.columns:
            rows = np.arange(min(len(table), _MOST_CELLS))
            values = np.unique(table.read(name, rows).astype(str))
            if len(values) <= _MOST_VALUES:
                yield from (f"{name}={one}" for one in values if re.fullmatch(r"[\w./-]+", one))


def _tables(output: "SimulationOutput") -> Iterator["CellTable"]:
    yield from (report.compartments.cells for report in output.reports)
    yield from (spikes.cells for spikes in output.spikes if spikes.cells is not None)
    yield from () if output.circuit is None else output.circuit.populations


def _properties(output: "SimulationOutput") -> Iterator[str]:
    for table in _tables(output):
        yield from table.columns
    for population in () if output.circuit is None else output.circuit.summary:
        yield from population.properties


def _to_select(option: str) -> _Names:
    def names(output: "SimulationOutput") -> Iterable[str]:
        from ndx_simulation_output.plots.selection import names_to_select

        return names_to_select(output)[option]

    return names


REPORTS = complete(_to_select("report"))
POPULATIONS = complete(_to_select("population"))
VARIABLES = complete(_to_select("variable"))
PROPERTIES = complete(_properties)
CELLS = complete(_cells)
STATES = complete(lambda output: (network.name for network in output.networks))
PARTS = complete(lambda output: (one.name for state in output.networks for one in state.parts))


def complete_list(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last property of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in PROPERTIES(ctx, parameter, last)]
