"""HDF5 files that are whole at each moment, as they were when they were last committed.

What HDF5 writes over bytes of the last committed state stays in memory. A commit writes it to a
journal beside the file, and then to the file. Bytes that no committed state has are written at
once: nobody who reads the file looks at them.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.engine.file_locks import lock_file, unlock_file
from ndx_simulation_output.engine.frames import write_at
from ndx_simulation_output.engine.journal import Journal, taken_journal
from ndx_simulation_output.engine.overlay import Overlay
from ndx_simulation_output.files import FileStorage, WholeFile, whole_hdf5

__all__ = ["Journaled", "journaled_hdf5"]

_READERS_SECONDS = 1.0
"""How long the end of a file waits for those who read it."""


class Journaled(FileStorage):
    """The bytes of a file that HDF5 writes, changed only by :meth:`commit`.

    ``kept`` is how many bytes were written over the committed state since the last commit.
    """

    def __init__(self, path: Path, mode: str, journal: Journal) -> None:
        super().__init__(path, mode)
        self._journal = journal
        self._new, self._committed = Overlay(), Overlay()
        self._length = self._fixed = os.fstat(self.fileno()).st_size
        self._interruption: KeyboardInterrupt | None = None
        self.commits = 0
        self.kept = 0

    def store(self, data: memoryview) -> None:
        """Write past the end of what was committed; keep what lies before it."""
        place = self.tell()
        try:
            self._store(data, place)
        except KeyboardInterrupt as interruption:
            # HDF5 does not write it again: if the file is to be kept, it would lack this.
            self._store(data, place)
            self._interruption = interruption

    def check(self) -> None:
        """Raise what has happened, if anything has; once, if the user has interrupted."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption
        super().check()

    def _store(self, data: memoryview, place: int) -> None:
        inside = max(0, min(len(data), self._fixed - place))
        if inside:
            self._new.put(place, data[:inside])
            self.kept += inside
        write_at(self.fileno(), data[inside:], place + inside)

    def cede(self, places: NDArray[np.int64], length: int) -> None:
        """Forget what HDF5 has written to ``places``, where others now write ``length`` bytes each.

        HDF5 does so when a dataset gets shorter: it clears the rest of its last chunks.
        """
        if self._new:
            for place in places.ravel().tolist():
                self._new.drop(place, place + length)

    def readinto(self, buffer: Any) -> int:
        """Read what would be in the file if all was committed."""
        place = self.tell()
        data = memoryview(buffer).cast("B")
        length = super().readinto(data) or 0
        self._committed.lay_over(place, data[:length])
        self._new.lay_over(place, data[:length])
        return length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as ``readinto`` does."""
        rest = max(0, os.fstat(self.fileno()).st_size - self.tell())
        data = bytearray(rest if size is None or size < 0 else size)
        return bytes(data[: self.readinto(data)])

    def cut(self, size: int) -> None:
        """Make the file longer; it becomes shorter only at the end, when nothing is behind."""
        self._length = size
        if size > os.fstat(self.fileno()).st_size:
            os.ftruncate(self.fileno(), size)

    def commit(self) -> None:
        """Make what HDF5 has written, and flushed, the state that a crash leaves.

        Raises
        ------
        OSError
            If something of it could not be written.

        """
        self.check()
        try:
            self._journal.append(self._new)
        except OSError as error:
            self.failure = error
            raise
        if not self._committed:
            self._committed = self._new
        else:
            for place, piece in self._new:
                self._committed.put(place, piece)
        self._new, self.kept = Overlay(), 0
        self._fixed = max(self._fixed, self._length)
        self.commits += 1
        self.settle()

    def settle(self) -> bool:
        """Bring what was committed into the file, unless somebody has it open for reading.

        Raises
        ------
        OSError
            If it cannot be written; the journal has it still.

        """
        if not self._committed:
            return True
        if not lock_file(self.fileno(), shared=False):
            return False
        try:
            self._write_committed()
        finally:
            unlock_file(self.fileno())
        return True

    def _write_committed(self) -> None:
        try:
            for place, piece in self._committed:
                write_at(self.fileno(), piece, place)
            self._journal.clear()
        except OSError as error:
            self.failure = error
            raise
        self._committed = Overlay()

    def finish(self) -> None:
        """Commit what HDF5 has written when it closed the file, and cut the file to its length.

        Raises
        ------
        OSError
            If something of it could not be written.

        """
        self.commit()
        patience = time.monotonic() + _READERS_SECONDS
        while not self.settle() and time.monotonic() < patience:
            time.sleep(0.01)
        self._write_committed()
        os.ftruncate(self.fileno(), self._length)


@contextmanager
def journaled_hdf5(
    path: Path, *, overwrite: bool = False, keep: bool = False
) -> Iterator[tuple[WholeFile, Journaled]]:
    """Give an HDF5 file that gets the name ``path`` when the block ends well, and its storage.

    When the process dies before, what was last committed can be recovered. So it can if the block
    raises, given ``keep``; else nothing is left.

    Raises
    ------
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written, for instance because the disk is full.

    """
    storages: list[Journaled] = []

    def make(temporary: Path) -> Journaled:
        journal = stack.enter_context(taken_journal(temporary))
        storages.append(Journaled(temporary, "w+", journal))
        return storages[0]

    def keeps() -> bool:
        return keep and bool(storages) and storages[0].commits > 1

    with (
        ExitStack() as stack,
        whole_hdf5(path, overwrite=overwrite, storage=make, keeps=keeps) as file,
    ):
        yield file, storages[0]
