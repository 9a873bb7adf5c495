"""Notebooks show what there is, in a bounded time, and never what a file could smuggle in."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np

from ndx_simulation_output import Compartments, CompartmentSeries, open_output
from ndx_simulation_output.adapters import sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.nwb.types import ProjectionState
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.summaries import MOST_BYTES
from tests.recording.test_reduced import a_report


class Counted:
    """Values that count how many of their bytes are read."""

    def __init__(self, shape, chunks):
        self.shape, self.chunks, self.dtype, self.read = shape, chunks, np.dtype(np.float64), 0

    def __getitem__(self, key):
        rows, columns = (range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True))
        values = np.zeros((len(rows), len(columns)))
        self.read += values.nbytes
        return values


def pictures(html):
    return [found for found in ET.fromstring(html).iter() if found.tag.endswith("svg")]  # noqa: S314


def test_an_output_shows_each_thing_and_pictures_of_it():
    html = simulate(duration=0.02)._repr_html_()

    assert len(pictures(html)) == 6
    for text in ("report v_exc", "200 times × 139 columns, mV, 8 cells of population exc"):
        assert text in html
    assert "spikes exc" in html
    assert "potential ecp" in html


def test_an_output_of_nothing_says_so():
    assert "nothing" in SimulationOutput()._repr_html_()


def test_a_picture_of_a_huge_report_reads_a_bounded_amount():
    data = Counted((10**7, 8), (1000, 8))
    small = a_report(np.zeros((1, 8)))
    report = replace(small, data=data, times=RegularTimes(0.0, 1e3, 10**7))

    html = report._repr_html_()

    assert 0 < data.read <= MOST_BYTES
    assert len(pictures(html)) == 1


def test_what_cannot_be_read_in_part_has_no_picture():
    data = Counted((10**6, 100), (10**6, 100))
    small = a_report(np.zeros((1, 100)))

    html = replace(small, data=data, times=RegularTimes(0.0, 1e3, 10**6))._repr_html_()

    assert data.read == 0
    assert pictures(html) == []


def test_what_was_closed_is_still_summarised(tmp_path):
    sonata.write(simulate(duration=0.03), tmp_path / "output")
    with open_output(tmp_path / "output") as output:
        assert len(pictures(output._repr_html_())) == 6

    assert "spikes exc" in output._repr_html_()


def test_names_are_text_and_not_markup():
    spikes = Spikes("<script>alert(1)</script>", np.array([1]), np.array([0.5]))

    html = SimulationOutput(spikes=(spikes,))._repr_html_()

    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_network_shows_a_histogram_of_weights():
    weights = Quantity("w", np.array([0.1, 0.2, 0.3]))
    projection = ProjectionSnapshot(
        "p", np.array([0]), np.array([3]), np.array([0, 1, 2]), (weights,), weight="w"
    )

    html = SimulationOutput(networks=(NetworkSnapshot("s", (), (projection,)),))._repr_html_()

    assert "3 synapses" in html
    assert len(pictures(html)) == 1


def test_types_of_nwb_show_pictures_too():
    table = Compartments.from_arrays(number=[0, 0], counts=[1, 1])
    series = CompartmentSeries("v", np.eye(5, 2), compartments=table, unit="volts", rate=10.0)
    columns = {"pre_rank": np.array([0, 1]), "weight": np.array([0.5, 0.7])}
    state = ProjectionState.from_arrays([4], [2], columns, name="p")

    assert "<svg" in series._repr_html_()
    assert "report v" in series._repr_html_()
    assert "<svg" in state._repr_html_()
