"""Save and load the state of a network, which a simulator gives as lists of rows.

The ways of ANNarchy are the calls with which it writes and reads its containers, and the
dictionary of lists that it makes for them.
"""

import gzip
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from inputs.session import make_file
from inputs.states import make_state, rows_of
from numpy.typing import NDArray

from ndx_simulation_output import open_output
from ndx_simulation_output.annarchy.writing import network_dictionary
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import NetworkSnapshot, SimulationOutput

__all__ = [
    "load_gzip",
    "load_npz",
    "load_nwb",
    "load_pickle",
    "save_gzip",
    "save_npz",
    "save_nwb",
    "save_pickle",
]

Work = Callable[[], object]


def save_nwb(target: str, *, synapses: int) -> Work:
    """Save it as NWB."""
    state = make_state(synapses)
    session = make_file()
    metadata = {
        "NWBFile": {
            "session_description": session.session_description,
            "session_start_time": session.session_start_time,
        }
    }

    def work() -> None:
        output = SimulationOutput(networks=(_through_lists(state),))
        writer.write(output, Path(target), metadata=metadata, workers=2)

    return work


def load_nwb(source: str) -> Work:
    """Load all of it."""

    def work() -> None:
        with open_output(source) as output:
            (projection,) = output.networks[0].projections
            for quantity in projection.quantities:
                quantity.values[:]
            for values in (projection.pre_ranks, projection.delays, projection.delay_steps):
                values[:]

    return work


def save_npz(target: str, *, synapses: int) -> Work:
    """Save it as ANNarchy does for ``.npz``."""
    state = make_state(synapses)
    return lambda: np.savez_compressed(target, allow_pickle=True, **network_dictionary(state))


def load_npz(source: str) -> Work:
    """Load all of it as ANNarchy does."""

    def work() -> None:
        # It was made a moment ago by the way above.
        with np.load(source, allow_pickle=True) as file:
            dict(file.items())

    return work


def save_pickle(target: str, *, synapses: int) -> Work:
    """Save it as ANNarchy does for ``.txt``."""
    return _pickling(target, synapses, open)


def load_pickle(source: str) -> Work:
    """Load all of it as ANNarchy does."""
    return _unpickling(source, open)


def save_gzip(target: str, *, synapses: int) -> Work:
    """Save it as ANNarchy does for ``.gz``."""
    return _pickling(target, synapses, gzip.open)


def load_gzip(source: str) -> Work:
    """Load all of it as ANNarchy does."""
    return _unpickling(source, gzip.open)


def _pickling(target: str, synapses: int, opened: Callable[..., Any]) -> Work:
    state = make_state(synapses)

    def work() -> None:
        with opened(target, "wb") as file:
            pickle.dump(network_dictionary(state), file, pickle.HIGHEST_PROTOCOL)

    return work


def _unpickling(source: str, opened: Callable[..., Any]) -> Work:
    def work() -> None:
        with opened(source, "rb") as file:
            pickle.load(file)  # noqa: S301 - made a moment ago by the way above

    return work


def _through_lists(state: NetworkSnapshot) -> NetworkSnapshot:
    """Return a state made from the simulator's lists of rows, each converted to one array."""
    (projection,) = state.projections
    ends = np.asarray(projection.ends[:])

    def again(values: Any) -> NDArray[Any]:
        rows = rows_of(values, ends)
        return np.fromiter(chain.from_iterable(rows), values.dtype, len(values))

    read = replace(
        projection,
        pre_ranks=again(projection.pre_ranks),
        delays=again(projection.delays),
        delay_steps=again(projection.delay_steps),
        quantities=tuple(replace(one, values=again(one.values)) for one in projection.quantities),
    )
    return replace(state, projections=(read,))
