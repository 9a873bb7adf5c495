"""Blocks of Neo in memory, also those of PyNN with the simulators that are installed."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pynwb import NWBHDF5IO

from ndx_simulation_output.errors import NothingRecordedError, WrongTypeError
from ndx_simulation_output.neo import to_output
from ndx_simulation_output.neo.nix import read
from ndx_simulation_output.recording import RegularTimes, Timestamps

neo = pytest.importorskip("neo", reason="Neo is not installed")
pq = pytest.importorskip("quantities")

VALUES = np.arange(8.0).reshape(4, 2)


def make_block(name: str = "exc") -> Any:
    """Return a block with one of everything."""
    block = neo.Block(name=name, rec_datetime=datetime(2026, 11, 30, 8, 0), first_id=4)  # noqa: DTZ001
    segment = neo.Segment(name="trial", mood="good")
    block.segments.append(segment)
    segment.analogsignals.append(
        neo.AnalogSignal(
            VALUES,
            units="mV",
            sampling_period=0.025 * pq.ms,
            t_start=3 * pq.ms,
            name="v",
            channel_ids=[6, 5],
            array_annotations={"depth": [1.0, 2.0] * pq.mm},
        )
    )
    segment.irregularlysampledsignals.append(
        neo.IrregularlySampledSignal([1, 2, 4] * pq.ms, VALUES[:3], units="nA", name="i")
    )
    for cell, times in enumerate([[1.5], [], [0.4, 2.0]]):
        segment.spiketrains.append(
            neo.SpikeTrain(times * pq.ms, t_stop=10.0, source_index=2 - cell, channel_id=6 - cell)
        )
    segment.events.append(neo.Event([1, 2] * pq.ms, labels=["a", "b"], name="go"))
    segment.epochs.append(
        neo.Epoch(
            [1] * pq.ms, [0.5] * pq.s, labels=["on"], name="light", array_annotations={"n": [4]}
        )
    )
    block.groups.append(neo.Group([segment.spiketrains[0]]))
    return block


def test_a_block_is_described_without_copies_of_its_data() -> None:
    """Signals, trains, intervals and annotations are there, and what is left out is named."""
    block = make_block()

    output = to_output(block)

    voltage, current = output.reports
    assert (voltage.name, current.name) == ("v_exc", "i_exc")
    assert voltage.compartments.cell_ids.tolist() == [1, 2]
    assert_array_equal(voltage.data[:], VALUES[:, ::-1])
    assert np.shares_memory(current.data, block.segments[0].irregularlysampledsignals[0].magnitude)
    assert voltage.times == RegularTimes(0.003, 40000.0, 4)
    assert isinstance(current.times, Timestamps)
    assert voltage.compartments.cell_columns["depth"].tolist() == [2.0, 1.0]
    assert voltage.provenance["neo"]["annotations"] == {"depth_unit": "mm"}
    (spikes,) = output.spikes
    assert spikes.node_ids.tolist() == [0, 0, 2]
    assert spikes.times.tolist() == [0.0004, 0.002, 0.0015]
    assert spikes.silent is not None
    assert spikes.silent.tolist() == [1]
    assert spikes.cells is not None
    assert spikes.cells.columns["channel_id"][:].tolist() == [4, 5, 6]
    go, light = output.arrays
    assert [array.name for array in light.arrays] == ["start_time", "stop_time", "labels", "n"]
    assert go.arrays[0].values[:].tolist() == [0.001, 0.002]
    assert "left out: 1 groups of channels" in output.notes
    assert output.provenance["blocks"][0]["segments"][0]["annotations"] == {"mood": "good"}
    start = output.session["NWBFile"]["session_start_time"]
    assert start == datetime(2026, 11, 30, 8, 0).astimezone()


def test_blocks_of_one_name_are_populations_of_their_own() -> None:
    """Nothing tells that they are parts of one population."""
    output = to_output(make_block() for _ in range(2))

    assert [one.population for one in output.spikes] == ["exc", "exc_2"]
    assert [one.name for one in output.reports] == ["v_exc", "i_exc", "v_exc_2", "i_exc_2"]
    assert any("'exc_2'" in note for note in output.notes)


def test_what_are_no_blocks_is_refused() -> None:
    """Segments are those of a block."""
    with pytest.raises(WrongTypeError, match=r"expected a neo\.Block, or a list of them"):
        to_output(neo.Segment())
    with pytest.raises(NothingRecordedError, match="no block has a segment"):
        to_output([])


def test_a_block_and_its_file_are_described_alike(tmp_path: Path) -> None:
    """A file of nixio, not of the tests."""
    pytest.importorskip("nixio", reason="nixio is not installed")
    block = make_block()
    with neo.io.NixIO(str(tmp_path / "run.nix"), "ow") as io:
        io.write_block(block)
    expected = to_output(block)

    with read(tmp_path / "run.nix") as found:
        for one, other in zip(found.reports, expected.reports, strict=True):
            assert (one.name, one.unit) == (other.name, other.unit)
            assert one.provenance == other.provenance
            assert_array_equal(one.compartments.cell_ids, other.compartments.cell_ids)
            assert_array_equal(one.data[:], other.data[:])
            assert_allclose(one.times.seconds(), other.times.seconds())
        (one,), (other,) = found.spikes, expected.spikes
        assert_array_equal(one.times, other.times)
        assert_array_equal(one.node_ids, other.node_ids)
        assert one.provenance == other.provenance
        for first, second in zip(found.arrays, expected.arrays, strict=True):
            assert [a.values[()].tolist() for a in first.arrays] == [
                a.values[()].tolist() for a in second.arrays
            ]
        assert found.session == expected.session


_PYNN = """
import json, sys
import numpy as np
from importlib import import_module
from ndx_simulation_output import convert
from ndx_simulation_output.neo import to_output
sim = import_module("pyNN." + sys.argv[1])
sim.setup(timestep=0.1)
exc = sim.Population(4, sim.IF_cond_exp(i_offset=1.0), label="exc")
inh = sim.Population(3, sim.IF_cond_exp(), label="inh")
exc[1:4].record("v")
exc.record("spikes")
inh.record(["v", "spikes"])
sim.run(50.0)
blocks = [exc.get_data(), inh.get_data()]
convert(to_output(blocks), sys.argv[2])
signal, other = (block.segments[0].analogsignals[0] for block in blocks)
trains = {int(one.annotations["source_index"]): one for one in blocks[0].segments[0].spiketrains}
print("\\n" + json.dumps({
    "v": signal.magnitude.tolist(), "inh": other.magnitude.tolist(),
    "spikes": {cell: one.rescale("s").magnitude.tolist() for cell, one in trains.items()},
    "ids": [int(one) for one in exc.all_cells],
}))
"""


@pytest.mark.parametrize("backend", ["nest", "brian2", "neuron"])
def test_pynn_gives_in_nwb_what_it_recorded(tmp_path: Path, backend: str) -> None:
    """Ids are those in the population; the others are in a column."""
    pytest.importorskip("pyNN", reason="PyNN is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    target = tmp_path / "run.nwb"
    command = [sys.executable, "-c", _PYNN, backend, str(target)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    if "mechanisms not found" in done.stderr:
        pytest.skip("PyNN has no compiled mechanisms of NEURON: run nrnivmodl in pyNN/neuron/nmodl")
    assert done.returncode == 0, done.stderr
    recorded = json.loads(done.stdout.splitlines()[-1])
    with NWBHDF5IO(target, "r") as io:
        nwbfile = io.read()
        voltage = nwbfile.acquisition["v_exc"]
        assert_array_equal(voltage.data[:], recorded["v"])
        assert_array_equal(nwbfile.acquisition["v_inh"].data[:], recorded["inh"])
        assert voltage.compartments.id[:].tolist() == [1, 2, 3]
        assert voltage.compartments["channel_id"][:].tolist() == recorded["ids"][1:]
        units = nwbfile.units.to_dataframe()
        of_exc = units[units["population"] == "exc"]
        assert sum(map(len, recorded["spikes"].values())) > 0
        for cell, times in recorded["spikes"].items():
            (row,) = of_exc[of_exc["node_id"] == int(cell)].itertuples()
            assert_allclose(row.spike_times, times, rtol=1e-12)
