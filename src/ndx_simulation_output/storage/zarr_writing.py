"""Fill arrays in Zarr stores with dask."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import LazyArray, detached, is_mapped
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.storage.partitions import Region, region_shape, regions
from ndx_simulation_output.storage.reading import DetachedArray

# Fill an array of whole chunks with dask: in threads, or on a cluster where one is running.
#
# This is for files whose chunks are written side by side by anyone, such as those of Zarr.

_Progress = Callable[[int], object]
_AHEAD = 2
"""Tasks for each thread of a cluster that are sent before one of them is done."""


def fill_array(
    source: LazyArray,
    target: Any,
    layout: Layout,
    *,
    workers: int,
    directory: Path | None = None,
    progress: _Progress | None = None,
) -> None:
    """Write ``source`` into ``target``, both of shape (time, column): whole chunks of it at a time.

    If a client of ``dask.distributed`` is running and the source can be opened by other
    processes, these do the work, each with a block in memory. Else it is done in ``workers``
    threads, in memory as ``layout`` says. A temporary file, where one is needed, lies in
    ``directory``. ``progress`` is called with the number of bytes of each block.

    Raises
    ------
    SourceError
        If the source cannot be read.
    OSError
        If the target cannot be written.
    MissingDependencyError
        If dask is not installed.

    """
    if not all(layout.shape):
        return
    client, travelling = _running_client(), detached(source)
    blocks = layout.piece if is_mapped(source) else region_shape(source, layout, layout.shape[1])
    fits = blocks[0] * blocks[1] * layout.itemsize <= layout.memory
    if client is not None and fits and _can_travel(travelling):
        region = Region(travelling, slice(0, layout.shape[0]), slice(0, layout.shape[1]))
        _fill_on_cluster(client, region, target, replace(layout, piece=blocks), progress)
    else:
        _fill_in_threads(source, target, layout, workers, directory, progress)


def _running_client() -> Any:
    """Give the client of ``dask.distributed`` that runs in this process, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def _can_travel(source: Any) -> bool:
    """Whether it is small to send: by the path of its file, with the views on it."""
    while not isinstance(source, DetachedArray) and hasattr(source, "array"):
        source = source.array
    return isinstance(source, DetachedArray)


def _copy(region: Region, target: Any, rows: slice, columns: slice) -> int:
    values = region.read(rows, columns)
    target[rows, columns] = values
    return int(values.nbytes)


def _fill_in_threads(
    source: LazyArray,
    target: Any,
    layout: Layout,
    workers: int,
    directory: Path | None,
    progress: _Progress | None,
) -> None:
    dask, callbacks = (
        import_optional(name, "writing Zarr", "zarr") for name in ("dask", "dask.callbacks")
    )

    def done(key: Any, n_bytes: Any, *_: Any) -> None:
        del key
        if progress is not None and isinstance(n_bytes, int):
            progress(n_bytes)

    with _scheduler(workers) as scheduler, callbacks.Callback(posttask=done):
        for region in regions(source, layout, range(layout.shape[1]), directory):
            tasks = [
                dask.delayed(_Copy(region, target), traverse=False, pure=False)(
                    piece.rows, piece.columns
                )
                for piece in region.pieces(layout)
            ]
            dask.compute(*tasks, scheduler=scheduler)
            region.release()


class _Copy:
    """``_copy`` of a region: what dask calls in a thread, and does not look into."""

    def __init__(self, region: Region, target: Any) -> None:
        self._region, self._target = region, target

    def __call__(self, rows: slice, columns: slice) -> int:
        return _copy(self._region, self._target, rows, columns)


@contextmanager
def _scheduler(workers: int) -> Iterator[Any]:
    """Give what dask computes in; afterwards no thread works any more, whatever happened."""
    if workers <= 0:
        yield "synchronous"
        return
    with ThreadPoolExecutor(workers) as pool:
        yield pool


def _fill_on_cluster(
    client: Any, region: Region, target: Any, layout: Layout, progress: _Progress | None
) -> None:
    """Send few tasks ahead; when one fails, wait for those, so that nothing writes any more."""
    from distributed import as_completed, wait

    ahead = _AHEAD * max(1, sum(client.nthreads().values()))
    shared = client.scatter((region, target), hash=False)
    pieces = region.pieces(layout)

    def send() -> Any:
        piece = next(pieces, None)
        if piece is None:
            return None
        return client.submit(_copy_shared, shared, piece.rows, piece.columns, pure=False)

    sent = {task for task in (send() for _ in range(ahead)) if task is not None}
    running = as_completed(list(sent))
    try:
        for task in running:
            sent.discard(task)
            n_bytes = task.result()
            if progress is not None:
                progress(n_bytes)
            following = send()
            if following is not None:
                sent.add(following)
                running.add(following)
    finally:
        wait(list(sent))


def _copy_shared(shared: tuple[Region, Any], rows: slice, columns: slice) -> int:
    return _copy(*shared, rows, columns)
