"""Threads return the results of a loop in its order, and run only a few items ahead."""

import threading
import time
from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage.layout import default_workers
from ndx_simulation_output.storage.partitions import in_order


@given(items=st.lists(st.integers(), max_size=30), workers=st.integers(-1, 4))
def test_results_are_in_the_order_of_the_items(items, workers):
    assert list(in_order(lambda item: item + 1, items, workers)) == [item + 1 for item in items]


def test_results_are_in_order_when_the_first_takes_longest():
    def sleep(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item

    assert list(in_order(sleep, range(8), workers=2)) == list(range(8))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_only_a_few_items_are_taken_ahead_of_the_results(workers):
    taken = []

    def items():
        for item in count():
            taken.append(item)
            yield item

    results = in_order(abs, items(), workers)

    for number in range(20):
        assert next(results) == number
        assert len(taken) <= number + 2 * workers + 1
    results.close()


def test_without_workers_items_are_processed_on_demand_in_the_same_thread():
    items = iter(range(3))
    results = in_order(lambda item: (item, threading.current_thread()), items, workers=0)

    assert next(results) == (0, threading.current_thread())
    assert next(items) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_are_threads_and_no_more_than_that_work_at_a_time(workers):
    lock, now, most, threads = threading.Lock(), 0, 0, set()

    def work(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            threads.add(threading.get_ident())
        time.sleep(0.001)
        with lock:
            now -= 1

    list(in_order(work, range(12), workers))

    assert most <= workers
    assert len(threads) <= workers
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_comes_where_its_result_would_and_the_rest_is_not_done(workers):
    done = []

    def work(item: int) -> int:
        if item == 2:
            msg = "item 2"
            raise RuntimeError(msg)
        done.append(item)
        return item

    results = in_order(work, count(), workers)

    assert list(islice(results, 2)) == [0, 1]
    with pytest.raises(RuntimeError, match="item 2"):
        next(results)
    assert max(done) <= 2 + 2 * workers + 1


def test_an_error_of_the_items_is_raised_and_no_thread_stays():
    def items():
        yield 1
        msg = "no more items"
        raise OSError(msg)

    before = threading.active_count()

    with pytest.raises(OSError, match="no more items"):
        list(in_order(abs, items(), workers=2))

    assert threading.active_count() == before


def test_stopping_early_leaves_no_work_and_no_threads():
    before, done = threading.active_count(), []
    results = in_order(done.append, range(1000), workers=2)

    next(results)
    results.close()

    assert len(done) <= 5
    assert threading.active_count() == before


@pytest.mark.parametrize(("processors", "expected"), [(1, 0), (2, 2), (8, 8), (64, 8)])
def test_there_is_a_worker_for_each_processor_up_to_a_few(processors, expected, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)), raising=False)

    assert default_workers() == expected


def test_without_affinity_all_processors_count(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)

    assert default_workers() == 3
