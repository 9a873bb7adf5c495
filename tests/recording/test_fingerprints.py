"""Fingerprints differ where recordings do, and read a bounded part of large arrays."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ndx_simulation_output.recording import (
    ArrayGroup,
    ArrayWithAxes,
    Categories,
    CellTable,
    Circuit,
    CompartmentTable,
    NetworkSnapshot,
    PopulationSnapshot,
    Quantity,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Unit,
)
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.fingerprints import fingerprint

TABLE = CompartmentTable.from_cells("exc", [3, 5, 9])
REPORT = Report("v", "v", np.zeros((5, 3)), RegularTimes(0.0, 1e3, 5), TABLE, Unit("volts"))
SPIKES = Spikes("exc", np.array([3, 5]), np.array([0.1, 0.2]))
STATE = NetworkSnapshot("s", (PopulationSnapshot("exc", (2,), (Quantity("v", np.ones(2)),)),))
CELLS = CellTable("exc", np.arange(2), {"ei": Categories(np.arange(2), ("e", "i"))})
OUTPUT = SimulationOutput(
    (REPORT,),
    (SPIKES,),
    networks=(STATE,),
    circuit=Circuit((CELLS,)),
    run=Run("NEURON", seed=3),
    session={"Subject": {"sex": "U"}},
)
CHANGES: dict[str, dict[str, Any]] = {
    "reports['v'].data": {"reports": (replace(REPORT, data=np.eye(5, 3)),)},
    "reports['v'].unit.conversion": {"reports": (replace(REPORT, unit=Unit("volts", 1e-3)),)},
    "reports['v'].times.start": {"reports": (replace(REPORT, times=RegularTimes(1.0, 1e3, 5)),)},
    "spikes['exc'].times": {"spikes": (replace(SPIKES, times=np.array([0.1, 0.3])),)},
    "networks['s'].populations": {"networks": (NetworkSnapshot("s"),)},
    "circuit.populations['exc'].columns['ei']": {
        "circuit": Circuit(
            (CellTable("exc", np.arange(2), {"ei": Categories(np.array([1, 1]), ("e", "i"))}),)
        )
    },
    "run.seed": {"run": Run("NEURON", seed=4)},
    "session['Subject']['sex']": {"session": {"Subject": {"sex": "F"}}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_fingerprint_names_what_differs(name):
    first, second = fingerprint(OUTPUT), fingerprint(replace(OUTPUT, **CHANGES[name]))

    assert {key for key in {*first, *second} if first.get(key) != second.get(key)} >= {name}


def test_paths_and_notes_may_differ():
    copy = replace(OUTPUT, notes=("a note",), provenance={"files": ["elsewhere/v.h5"]})

    assert fingerprint(copy) == fingerprint(OUTPUT)


class Large(LazyArrayBase):
    """Zeros that count what is read, with ones in some rows."""

    dtype = np.dtype("f4")

    def __init__(self, shape: tuple[int, ...], chunks: tuple[int, ...] | None, ones: slice) -> None:
        self.shape, self.chunks, self.ones, self.n_bytes = shape, chunks, ones, 0

    def _read(self, slices: tuple[slice, ...]) -> Any:
        of_row = np.zeros(self.shape[0], "f4")
        of_row[self.ones] = 1
        lengths = [len(range(*part.indices(n))) for part, n in zip(slices, self.shape, strict=True)]
        rows = of_row[slices[0]].reshape(-1, *[1] * (len(lengths) - 1))
        values = np.broadcast_to(rows, lengths)
        self.n_bytes += values.size * 4
        return values


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((40_000, 100_000), None),
        ((40_000, 100_000), (500, 200)),
        ((40_000, 100_000), (6, 40_000)),
        ((30, 100_000_000), None),
        ((100_000_000,), None),
        ((100_000, 300, 400), (10, 300, 400)),
    ],
)
@pytest.mark.parametrize("ones", [slice(0, 1), slice(-1, None), slice(15, None)], ids=str)
def test_a_bounded_part_of_a_large_array_is_read_and_rows_that_differ_are_found(
    shape, chunks, ones
):
    arrays = [Large(shape, chunks, which) for which in (slice(0), ones)]

    groups = [ArrayGroup("g", (ArrayWithAxes("large", array),)) for array in arrays]

    first, second = (fingerprint(replace(OUTPUT, arrays=(group,))) for group in groups)

    assert first != second
    assert max(array.n_bytes for array in arrays) < 2**25
