"""Fill arrays in Zarr stores, in threads or on a running dask cluster."""

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import WriteError
from ndx_simulation_output.recording.arrays import LazyArray, detached, is_mapped
from ndx_simulation_output.storage.layout import Layout
from ndx_simulation_output.storage.partitions import (
    Piece,
    Region,
    in_order,
    region_shape,
    regions,
)
from ndx_simulation_output.storage.reading import DetachedArray, DetachedZarr

_AHEAD = 2
"""Number of submitted tasks for each thread of a cluster."""


def fill_array(
    source: LazyArray,
    target: Any,
    layout: Layout,
    *,
    directory: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write ``source`` into ``target``, both of shape (time, column), in blocks of whole chunks.

    The blocks are processed on the cluster of an active client of ``dask.distributed`` if other
    processes can open the source, otherwise in the threads and within the memory of ``layout``.
    A temporary file is created in ``directory`` if needed. ``progress`` is called with the number
    of bytes of each block.
    """
    if not all(layout.shape):
        return
    client, sent_source = _active_client(), detached(source)
    block = layout.piece if is_mapped(source) else region_shape(source, layout, layout.shape[1])
    fits = block[0] * block[1] * layout.itemsize <= layout.memory
    if client is not None and fits and _is_detached(sent_source):
        region = Region(sent_source, slice(0, layout.shape[0]), slice(0, layout.shape[1]))
        written = _fill_on_cluster(client, region, target, replace(layout, piece=block))
    else:
        parts = regions(source, layout, range(layout.shape[1]), directory)
        written = _fill_in_threads(parts, target, layout)
    with closing(written):
        for n_bytes in written:
            if progress is not None:
                progress(n_bytes)


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
    """Return True for detached arrays or views of one, which are small to send."""
    kinds = DetachedArray, DetachedZarr
    while not isinstance(source, kinds) and hasattr(source, "array"):
        source = source.array
    return isinstance(source, kinds)


def _copy(shared: tuple[Region, Any], rows: slice, columns: slice) -> int:
    region, target = shared
    values = region.read(rows, columns)
    target[rows, columns] = values
    return int(values.nbytes)


def _fill_in_threads(parts: Iterable[Region], target: Any, layout: Layout) -> Generator[int]:
    """Yield the number of bytes of each piece that is written."""

    def copy(piece: Piece) -> int:
        return _copy((piece.region, target), piece.rows, piece.columns)

    for region in parts:
        yield from in_order(copy, region.pieces(layout), layout.workers)
        region.release()
        # Otherwise the region would stay in memory until the next one is read.
        del region


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Convert errors of a cluster, but not those of its tasks, to a WriteError."""
    try:
        yield
    except Exception as error:
        is_of_dask = type(error).__module__.partition(".")[0] in {"distributed", "dask"}
        if not (is_of_dask or isinstance(error, CancelledError)):
            raise
        msg = (
            f"the cluster of dask has failed before all data were written "
            f"({type(error).__name__}: {error})"
        )
        raise WriteError(msg) from error


def _fill_on_cluster(client: Any, region: Region, target: Any, layout: Layout) -> Generator[int]:
    """Yield the number of bytes of each piece that is written.

    After a failure the executor waits for the submitted pieces, so that nothing writes any more.
    """
    limit = _AHEAD * max(1, sum(client.nthreads().values()))
    # A task, which runs again if its worker dies: scattered data would be lost, and waited for.
    shared = client.submit(tuple, (region, target), pure=False)
    with _cluster_errors(), client.get_executor(pure=False) as executor:
        submitted: deque[Any] = deque()
        for piece in region.pieces(layout):
            if len(submitted) == limit:
                yield submitted.popleft().result()
            submitted.append(executor.submit(_copy, shared, piece.rows, piece.columns))
        while submitted:
            yield submitted.popleft().result()
