"""The intervals of a monitor give the times of samples only if their number agrees."""

import re
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.annarchy.reading import to_seconds
from ndx_simulation_output.annarchy.samples import Reported, Sampling, labels_of, times_of
from ndx_simulation_output.errors import RecordingError
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


@given(runs(), st.integers(0, 30))
def test_the_labels_of_a_known_phase_are_used(run, birth):
    intervals, sampling = run
    expected = plain_labels(intervals, sampling, birth)

    found = labels_of(len(expected), Reported(intervals), sampling, "v of exc", phase=birth)

    assert found.values.tolist() == expected
    assert found.intervals == intervals


@given(runs(), st.integers(0, 30))
def test_labels_are_found_without_the_phase_only_if_they_are_the_only_ones(run, birth):
    intervals, sampling = run
    expected = plain_labels(intervals, sampling, birth)
    others = [plain_labels(intervals, sampling, one) for one in range(sampling.period)]
    fitting = [labels for labels in others if len(labels) == len(expected)]

    if len(fitting) == 1:
        found = labels_of(len(expected), Reported(intervals), sampling, "v of exc")
        assert found.values.tolist() == expected
    else:
        with pytest.raises(RecordingError, match=re.escape("pass the time in ms of the first")):
            labels_of(len(expected), Reported(intervals), sampling, "v of exc")
    if expected:
        found = labels_of(
            len(expected), Reported(intervals), sampling, "v of exc", first=expected[0]
        )
        assert found.values.tolist() == expected


@given(runs(), st.integers(0, 30), st.integers(0, 9), st.booleans())
def test_overstated_intervals_never_give_wrong_labels(run, birth, more, knows_phase):
    intervals, sampling = run
    expected = plain_labels(intervals, sampling, birth)
    stop = intervals[-1][1] + more
    reported = Reported((*intervals[:-1], (intervals[-1][0], stop)), exact=False)
    phase = birth if knows_phase else None

    with suppress(RecordingError):
        found = labels_of(len(expected), reported, sampling, "v of exc", phase=phase)
        assert found.values.tolist() == expected


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
    late = Reported(((0, 45),), late=True)

    found = labels_of(4, late, Sampling(0.5), "n of inh")

    assert found.values.tolist() == [41, 42, 43, 44]
    assert found.intervals == ((41, 45),)


def test_a_late_monitor_that_may_have_paused_is_refused():
    late = Reported(((0, 45),), exact=False, late=True)

    with pytest.raises(RecordingError, match="has 4 samples, but 45 are expected"):
        labels_of(4, late, Sampling(0.5), "n of inh")

    assert labels_of(4, late, Sampling(0.5), "n of inh", first=41).values.tolist() == [
        41,
        42,
        43,
        44,
    ]


def test_a_number_of_samples_that_no_interval_explains_is_refused():
    with pytest.raises(RecordingError, match="has 50 samples, but 200 are expected"):
        labels_of(50, Reported(((0, 200),)), Sampling(0.5), "v of exc")


def test_a_first_sample_that_is_not_the_first_is_refused():
    with pytest.raises(RecordingError, match=re.escape("but 3 are expected from start=5 ms on")):
        labels_of(4, Reported(((0, 40),)), Sampling(0.5, period=10), "v of exc", first=10)


def test_times_are_decimal_numbers():
    assert to_seconds(132, 0.1) == 0.0132
    labels = np.arange(10_000)
    for dt in (0.1, 0.025, 0.3, 1e-05, 1.0):
        expected = [float(Fraction(repr(dt)) * label / 1000) for label in labels.tolist()]
        assert to_seconds(labels, dt).tolist() == expected
    times = times_of(np.array([132, 135]), Sampling(0.1, period=3))
    assert (times.start, times.rate) == (0.0132, 1000 / 0.3)
    assert times_of(np.array([0, 1]), Sampling(0.01)).rate == 100_000.0
