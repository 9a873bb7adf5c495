"""Work in threads. What takes long here, copying and compressing, leaves Python to the others."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["default_workers", "in_order", "run_all", "worth"]

_MOST = 8
"""More threads than this wait for the memory, not for a processor."""

_THREAD_BYTES = 2**22
"""Less than this is done before a thread has begun."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def default_workers(sharing: int = 1) -> int:
    """Give how many threads work unless told: one for each processor, or none if there is one.

    ``sharing`` is how many processes like this one share the processors.
    """
    available = getattr(os, "sched_getaffinity", None)
    processors = (len(available(0)) if available else os.cpu_count() or 1) // sharing
    return min(processors, _MOST) if processors > 1 else 0


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Iterator[_Result]:
    """Give the results of ``function`` for all items in their order, few of them ahead of time.

    With no workers it is ``map``.

    Example
    -------
    >>> list(in_order(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]

    """
    if workers <= 0:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[_Result]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()


def run_all(function: Callable[[_Item], None], jobs: list[_Item], workers: int) -> None:
    """Do all jobs, several at a time for each worker: handing one over takes time too."""
    size = max(1, len(jobs) // (8 * max(workers, 1)))
    batches = [jobs[first : first + size] for first in range(0, len(jobs), size)]

    def work(batch: list[_Item]) -> None:
        for job in batch:
            function(job)

    for _ in in_order(work, batches, workers if len(batches) > 1 else 0):
        pass


def worth(n_bytes: int, workers: int) -> int:
    """Give how many workers it is worth to have for so many bytes."""
    return workers if n_bytes > _THREAD_BYTES else 0
