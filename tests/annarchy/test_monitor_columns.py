"""Recordings are refused if the synapses have changed, or if they are of several networks."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ndx_simulation_output.annarchy.monitors import _with_distinct_names, recordings
from ndx_simulation_output.annarchy.samples import MonitorColumns, population_table
from ndx_simulation_output.errors import NameClashError, RecordingError
from ndx_simulation_output.recording import UNKNOWN, CompartmentTable, RegularTimes, Report


def projection(*lengths: int) -> MonitorColumns:
    ranks, counts = np.arange(len(lengths)), np.array(lengths)
    columns = {"number": np.concatenate([np.arange(length) for length in lengths])}
    synapses = CompartmentTable.from_counts("exc", ranks, counts, columns)
    rows = population_table("exc", (len(lengths),))
    return MonitorColumns("rec", rows, synapses, {"w": "local", "th": "semiglobal"}, {}, {})


@pytest.mark.parametrize(
    ("variable", "lengths", "samples", "expected"),
    [
        ("w", (2, 1), [[[0.1, 0.2], [0.3]]], [[0.1, 0.2, 0.3]]),
        ("w", (2, 2), np.ones((1, 2, 2), object), [[1.0, 1.0, 1.0, 1.0]]),
        ("w", (2,), [[0.1, 0.2]], [[0.1, 0.2]]),
        ("w", (1,), [0.1], [[0.1]]),
        ("th", (2, 1), [[0.5, 0.25]], [[0.5, 0.25]]),
    ],
)
def test_samples_of_synapses_are_flattened(variable, lengths, samples, expected):
    assert projection(*lengths).values(variable, samples).tolist() == expected


@pytest.mark.parametrize(
    "samples",
    [
        [[[0.1, 0.2], [0.3]], [[0.1], [0.2, 0.3]]],
        [[[0.1], [0.2, 0.3]], [[0.1, 0.2], [0.3]]],
        [[[0.1, 0.2, 0.3]]],
    ],
)
def test_samples_of_other_synapses_are_refused_even_if_their_number_is_equal(samples):
    with pytest.raises(RecordingError, match="the number of synapses per neuron changed"):
        projection(2, 1).values("w", samples)


def test_names_that_are_equal_in_nwb_get_a_number():
    names = ["L2/3_v", "L2_3_v", "v", "v"]
    table, times = population_table("exc", (2,)), RegularTimes(0.0, 1000.0, 1)
    reports = [Report(name, "exc", np.zeros((1, 2)), times, table, UNKNOWN) for name in names]

    found = [report.name for report in _with_distinct_names(reports)]

    assert found == ["L2/3_v", "L2_3_v_2", "v", "v_2"]


def test_a_value_of_a_whole_part_has_one_column_that_is_no_neuron():
    columns = replace(projection(2, 1), localities={"g": "global"})

    assert columns.values("g", [0.5, 0.25]).tolist() == [[0.5], [0.25]]
    table = columns.table("g")
    assert (table.population, list(table.columns["label"])) == (
        "rec (projection)",
        ["whole projection"],
    )


def test_monitors_of_two_networks_are_refused():
    first, second = (
        SimpleNamespace(net_id=number, times=None, variables=[], get=None) for number in (1, 2)
    )

    with pytest.raises(NameClashError, match="belong to 2 networks"):
        recordings([first, second])
