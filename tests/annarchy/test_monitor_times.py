"""The intervals of a monitor give the times of samples only if their number agrees."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.annarchy.samples import Sampling, labels_of, times_of
from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning
from ndx_simulation_output.recording import Timestamps


@st.composite
def runs(draw):
    """Draw the intervals in which a monitor ran, and its sampling."""
    edges = sorted(draw(st.lists(st.integers(0, 60), min_size=2, max_size=6, unique=True)))
    pairs = tuple(zip(edges[::2], edges[1::2], strict=False))
    period = draw(st.integers(1, 7))
    sampling = Sampling(0.5, period, draw(st.integers(0, period - 1)))
    return pairs, sampling


def plain_labels(intervals, sampling, birth: int) -> list[int]:
    """Return the labels by the rule of ANNarchy, step by step."""
    return [
        step
        for start, stop in intervals
        for step in range(start, stop)
        if (step - birth) % sampling.period == sampling.offset
    ]


@given(runs(), st.integers(0, 30))
def test_labels_follow_the_rule(run, birth):
    intervals, sampling = run

    labels = sampling.labels(intervals, birth % sampling.period)

    assert labels.tolist() == plain_labels(intervals, sampling, birth)


@pytest.mark.filterwarnings("ignore:.*if its monitor was created after")
@given(runs())
def test_intervals_with_the_same_number_of_samples_are_used(run):
    intervals, sampling = run
    expected = plain_labels(intervals, sampling, 0)
    wrong = ((0, 500),)

    labels, chosen = labels_of(len(expected), [wrong, intervals], sampling, "v of exc")

    assert labels.tolist() == expected
    assert chosen == intervals


@given(runs())
def test_times_are_regular_unless_there_are_gaps(run):
    intervals, sampling = run
    labels = sampling.labels(intervals)
    if not len(labels):
        return

    times = times_of(labels, sampling)

    np.testing.assert_allclose(times.seconds(), labels * 0.0005, rtol=1e-12)
    has_gaps = bool((np.diff(labels) != sampling.period).any())
    assert isinstance(times, Timestamps) == has_gaps


def test_the_samples_of_a_monitor_started_late_are_the_last_ones():
    labels, intervals = labels_of(4, [((0, 45),)], Sampling(0.5), "n of inh", started_late=True)

    assert labels.tolist() == [41, 42, 43, 44]
    assert intervals == ((41, 45),)


def test_a_number_of_samples_that_no_interval_explains_is_refused():
    candidates = [((0, 200),), ((0, 100),)]

    with pytest.raises(RecordingError, match="has 50 samples, but 200 or 100 are expected"):
        labels_of(50, candidates, Sampling(0.5), "v of exc", started_late=True)


def test_ambiguous_times_cause_a_warning():
    with pytest.warns(SimulationOutputWarning, match=re.escape("off by 0.5 ms")):
        labels, _ = labels_of(2, [((3, 7),)], Sampling(0.5, period=2), "v of exc")

    assert labels.tolist() == [4, 6]
