"""Fill arrays in Zarr stores with dask, in threads or on a running cluster."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import LazyArray, detached, is_mapped
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.storage.partitions import Region, region_shape, regions
from ndx_simulation_output.storage.reading import DetachedArray

_AHEAD = 2
"""Number of submitted tasks for each thread of a cluster."""


def fill_array(
    source: LazyArray,
    target: Any,
    layout: Layout,
    *,
    workers: int,
    directory: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write ``source`` into ``target``, both of shape (time, column), in blocks of whole chunks.

    The blocks are processed on the cluster of an active client of ``dask.distributed`` if other
    processes can open the source, otherwise in ``workers`` threads within the memory of ``layout``.
    A temporary file is created in ``directory`` if needed. ``progress`` is called with the number
    of bytes of each block.
    """
    if not all(layout.shape):
        return
    client, sent_source = _active_client(), detached(source)
    blocks = layout.piece if is_mapped(source) else region_shape(source, layout, layout.shape[1])
    fits = blocks[0] * blocks[1] * layout.itemsize <= layout.memory
    if client is not None and fits and _is_detached(sent_source):
        region = Region(sent_source, slice(0, layout.shape[0]), slice(0, layout.shape[1]))
        _fill_on_cluster(client, region, target, replace(layout, piece=blocks), progress)
    else:
        _fill_in_threads(source, target, layout, workers, directory, progress)


def _active_client() -> Any:
    """Return the client of ``dask.distributed`` that is active in this process, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def _is_detached(source: Any) -> bool:
    """Return True for a :class:`DetachedArray` or views of one, which are small to send."""
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
    progress: Callable[[int], object] | None,
) -> None:
    dask, callbacks = (
        import_optional(name, "writing Zarr", "zarr") for name in ("dask", "dask.callbacks")
    )

    def done(key: Any, n_bytes: Any, *_: Any) -> None:
        del key
        if progress is not None and isinstance(n_bytes, int):
            progress(n_bytes)

    # When the pool is closed, no thread writes any more.
    pool = ThreadPoolExecutor(workers) if workers > 0 else nullcontext("synchronous")
    with pool as scheduler, callbacks.Callback(posttask=done):
        for region in regions(source, layout, range(layout.shape[1]), directory):
            copy = dask.delayed(partial(_copy, region, target), traverse=False, pure=False)
            tasks = [copy(piece.rows, piece.columns) for piece in region.pieces(layout)]
            dask.compute(*tasks, scheduler=scheduler)
            region.release()


def _fill_on_cluster(
    client: Any,
    region: Region,
    target: Any,
    layout: Layout,
    progress: Callable[[int], object] | None,
) -> None:
    """Copy the pieces with a limited number of submitted tasks; wait for all of them on failure."""
    from distributed import as_completed, wait

    limit = _AHEAD * max(1, sum(client.nthreads().values()))
    shared = client.scatter((region, target), hash=False)
    pieces = region.pieces(layout)

    def submit() -> Any:
        piece = next(pieces, None)
        if piece is None:
            return None
        return client.submit(_copy_shared, shared, piece.rows, piece.columns, pure=False)

    submitted = {task for task in (submit() for _ in range(limit)) if task is not None}
    running = as_completed(list(submitted))
    try:
        for task in running:
            submitted.discard(task)
            n_bytes = task.result()
            if progress is not None:
                progress(n_bytes)
            following = submit()
            if following is not None:
                submitted.add(following)
                running.add(following)
    finally:
        wait(list(submitted))


def _copy_shared(shared: tuple[Region, Any], rows: slice, columns: slice) -> int:
    return _copy(*shared, rows, columns)
