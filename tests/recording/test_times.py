"""Rows are selected by time as by a mask on the seconds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording import RegularTimes, Timestamps
from ndx_simulation_output.recording.times import meant_rate, meant_step

LIMITS = st.none() | st.integers(-400, 400).map(lambda sixteenths: sixteenths / 16)
RATES = st.sampled_from([1 / 2.5e-5, 1 / 1e-4, 1000 / 0.025, 1000 / 0.1, 10.0, 3.0, 0.7])


def masked(seconds: np.ndarray, start: float | None, stop: float | None) -> list[int]:
    """Rows with start <= time < stop."""
    kept = np.ones(len(seconds), bool)
    if start is not None:
        kept &= seconds >= start
    if stop is not None:
        kept &= seconds < stop
    return np.flatnonzero(kept).tolist()


def rows(window: slice, count: int) -> list[int]:
    return list(range(count))[window]


# Starts, rates and limits are exact binary fractions here: the mask has no rounding.
@given(
    start=st.integers(-100, 100).map(lambda quarters: quarters / 4),
    rate=st.sampled_from([0.5, 1.0, 2.0, 8.0]),
    count=st.integers(0, 50),
    limits=st.tuples(LIMITS, LIMITS),
)
def test_a_window_of_regular_times_equals_a_mask(start, rate, count, limits):
    times = RegularTimes(start, rate, count)

    window = times.window(*limits)

    assert rows(window, count) == masked(times.seconds(), *limits)


@given(
    start=st.floats(0, 100),
    rate=RATES,
    count=st.integers(1, 100_000),
    data=st.data(),
)
def test_a_window_may_start_at_the_time_of_a_sample(start, rate, count, data):
    times = RegularTimes(start, rate, count)
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first, count - 1))
    seconds = times.seconds()

    window = times.window(float(seconds[first]), float(seconds[last]))

    assert (window.start, window.stop) == (first, last)


@given(start=st.floats(0, 100), rate=RATES, count=st.integers(2, 100_000), data=st.data())
def test_a_window_may_start_between_samples(start, rate, count, data):
    times = RegularTimes(start, rate, count)
    first = data.draw(st.integers(0, count - 2))
    seconds = times.seconds()

    window = times.window(float(seconds[first : first + 2].mean()), None)

    assert window == slice(first + 1, count)


@pytest.mark.parametrize("step", [2.5e-5, 1e-4, 0.1])
def test_times_that_users_write_lie_on_samples(step):
    times = RegularTimes(0.0, 1 / step, 1_000_000)

    assert times.window(0.3, 0.7) == slice(round(0.3 / step), round(0.7 / step))


@given(
    seconds=st.lists(st.integers(-300, 300).map(lambda number: number / 16), max_size=30).map(
        sorted
    ),
    limits=st.tuples(LIMITS, LIMITS),
)
def test_a_window_of_timestamps_equals_a_mask(seconds, limits):
    times = Timestamps(np.array(seconds))

    window = times.window(*limits)

    assert rows(window, times.count) == masked(times.seconds(), *limits)


def test_seconds_of_some_rows_are_those_of_all():
    for times in (RegularTimes(0.5, 100.0, 20), Timestamps(np.linspace(0, 3, 20))):
        np.testing.assert_array_equal(times.seconds(slice(3, 15, 4)), times.seconds()[3:15:4])


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan, np.inf])
def test_a_rate_must_be_positive(rate):
    with pytest.raises(ShapeMismatchError, match="positive rate"):
        RegularTimes(0.0, rate, 3)


@pytest.mark.parametrize("start", [np.nan, -np.inf])
def test_a_start_must_be_finite(start):
    with pytest.raises(ShapeMismatchError, match="finite start"):
        RegularTimes(start, 1.0, 3)


SINGLE = [0.1, 0.025, 0.05, 0.01, 0.0125, 0.04096, 0.2, 1e-4, 5e-5]


@pytest.mark.parametrize("step", SINGLE)
def test_the_step_that_float32_has_rounded_is_found(step):
    assert meant_step(float(np.float32(step))) == step
    assert meant_rate(float(np.float32(step)), 1000.0) == 1000.0 / step
    assert meant_step(step) == step


@pytest.mark.parametrize("rate", [3000.0, 30000.0, 44100.0, 60.0])
def test_the_rate_whose_step_was_rounded_is_found(rate):
    assert meant_rate(float(np.float32(1000 / rate)), 1000.0) == rate
    assert meant_rate(1000 / rate, 1000.0) == rate


@pytest.mark.parametrize("ulps", [-3, -1, 1, 2])
def test_a_few_last_digits_of_float64_are_rounding(ulps):
    step = 0.1 + ulps * np.spacing(0.1)

    assert meant_step(step) == 0.1


@pytest.mark.parametrize("step", [0.1234567, np.pi / 30, 0.1000003, 0.09999, 1 / 24.414])
def test_a_step_that_is_not_round_is_kept(step):
    single = float(np.float32(step))

    assert meant_rate(single, 1000.0) in {1000.0 / single, 1000.0 / step}
    assert abs(meant_step(single) - step) <= np.spacing(np.float32(step))
    assert meant_rate(step, 1000.0) == pytest.approx(1000.0 / step, rel=1e-15)


@given(st.floats(2.0**-13, 1e3, width=32))
def test_no_step_is_changed_by_more_than_its_rounding(step):
    assert np.float32(meant_step(step)) == np.float32(step)
    assert meant_step(1e-45 * step) == pytest.approx(1e-45 * step, rel=2.0**-23, abs=1e-45)
    assert meant_rate(step, 1000.0) == pytest.approx(1000.0 / step, rel=2.0**-23)
