"""Inflated parts of compressed datasets, kept in memory for the next read.

There is one cache for all open files of the process, and its threads share it. A lock is held while
a part is looked up or stored, never while one is inflated or copied: two threads that lack the same
part both inflate it. Arrays in the cache are read-only, and valid for their reader when they are
evicted.

Parts that were read once have a quarter of the memory, and those that were read again the rest: a
read of the whole recording does not evict what is used again and again.
"""

import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import h5py
from numpy.typing import NDArray

from ndx_simulation_output.storage.raw_files import hdf5_lock

Array = NDArray[Any]
_Key = tuple[int, Hashable]


class _Recent:
    """Arrays of at most ``limit`` bytes in total, without the least recently added."""

    def __init__(self, limit: int) -> None:
        self.limit, self.n_bytes = limit, 0
        self.arrays: OrderedDict[_Key, Array] = OrderedDict()

    def add(self, key: _Key, array: Array) -> None:
        self.pop(key)
        self.arrays[key] = array
        self.n_bytes += array.nbytes
        while self.n_bytes > self.limit:
            self.n_bytes -= self.arrays.popitem(last=False)[1].nbytes

    def pop(self, key: _Key) -> Array | None:
        array = self.arrays.pop(key, None)
        self.n_bytes -= 0 if array is None else array.nbytes
        return array


class ChunkCache:
    """At most ``limit`` bytes of arrays, the least recently used of which are evicted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._numbers = count()
        self._clear()
        if hasattr(os, "register_at_fork"):
            # A thread of the parent may hold the lock for ever.
            os.register_at_fork(after_in_child=self._clear)

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._once, self._again = _Recent(self.limit // 4), _Recent(self.limit - self.limit // 4)
        self._parts: weakref.WeakSet[KeptParts] = weakref.WeakSet()
        self._gone: deque[int] = deque()

    @property
    def n_bytes(self) -> int:
        """Size of all arrays."""
        return self._once.n_bytes + self._again.n_bytes

    @property
    def largest_read(self) -> int:
        """Size of the largest read that is kept: parts of a larger one would evict each other."""
        return self._once.limit

    def of(self, dataset: h5py.Dataset) -> "KeptParts":
        """Return the place for parts of an open dataset, with which they vanish."""
        parts = KeptParts(self, next(self._numbers), dataset)
        weakref.finalize(parts, self.forget, parts.number)
        with self._lock:
            self._parts.add(parts)
        return parts

    def get(self, keys: Iterable[_Key]) -> list[Array | None]:
        """Return arrays, which from now on were read again, or None for those that are missing."""
        with self._lock:
            return [self._found(key) for key in keys]

    def _found(self, key: _Key) -> Array | None:
        if (array := self._again.arrays.get(key)) is not None:
            self._again.arrays.move_to_end(key)
        elif (array := self._once.pop(key)) is not None:
            self._again.add(key, array)
        return array

    def put(self, key: _Key, array: Array, instead: Iterable[_Key] = ()) -> None:
        """Keep an array, which may not be changed from now on, ``instead`` of others."""
        array.flags.writeable = False
        with self._lock:
            self._forget_gone()
            was_again = [self._again.pop(one) is not None for one in (key, *instead)]
            for one in (key, *instead):
                self._once.pop(one)
            (self._again if any(was_again) else self._once).add(key, array)

    def forget(self, number: int) -> None:
        """Forget all parts of a dataset, now or, if another thread is busy, at the next ``put``."""
        self._gone.append(number)
        # Python may collect garbage, and call this, while this thread holds the lock.
        if self._lock.acquire(blocking=False):
            try:
                self._forget_gone()
            finally:
                self._lock.release()

    def forget_closed(self) -> None:
        """Forget all parts of datasets whose file is closed."""
        with self._lock:
            parts = list(self._parts)
        for part in parts:
            with hdf5_lock:
                is_open = part.dataset.id.valid
            if not is_open:
                part.forget()

    def _forget_gone(self) -> None:
        gone = set()
        while self._gone:
            gone.add(self._gone.popleft())
        if gone:
            for recent in (self._once, self._again):
                for key in [key for key in recent.arrays if key[0] in gone]:
                    recent.pop(key)


class KeptParts:
    """The parts of one open dataset in a cache."""

    def __init__(self, cache: ChunkCache, number: int, dataset: h5py.Dataset) -> None:
        self.cache, self.number, self.dataset = cache, number, dataset

    def get(self, parts: Iterable[Hashable]) -> list[Array | None]:
        """Return parts, or None for those that are missing."""
        return self.cache.get([(self.number, part) for part in parts])

    def put(self, part: Hashable, array: Array, instead: Iterable[Hashable] = ()) -> None:
        """Keep a part, which may not be changed from now on, ``instead`` of others."""
        self.cache.put((self.number, part), array, [(self.number, one) for one in instead])

    def forget(self) -> None:
        """Forget all parts."""
        self.cache.forget(self.number)


CHUNKS = ChunkCache(2**27)
"""The cache of all compressed files that are open in this process."""

_thread = threading.local()


@contextmanager
def keeping_nothing() -> Iterator[None]:
    """Read without the caches in this thread, as conversions do, which have their own limit."""
    before, _thread.is_past = is_past_cache(), True
    try:
        yield
    finally:
        _thread.is_past = before


def is_past_cache() -> bool:
    """Return True if this thread reads past the caches."""
    return getattr(_thread, "is_past", False)
