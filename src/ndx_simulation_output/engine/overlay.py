"""Pieces of a file that are in memory and lie over what the file has there."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

__all__ = ["Overlay"]


class Overlay:
    """Pieces of a file by their places; they never overlap.

    Example
    -------
    >>> overlay = Overlay()
    >>> overlay.put(4, b"abcd")
    >>> overlay.put(2, b"xyz")
    >>> [(place, bytes(piece)) for place, piece in overlay]
    [(2, b'xyzbcd')]

    """

    def __init__(self) -> None:
        self._places: list[int] = []
        self._pieces: list[bytearray] = []

    def __bool__(self) -> bool:
        """Whether there is any piece."""
        return bool(self._places)

    def __iter__(self) -> Iterator[tuple[int, bytearray]]:
        """Give the pieces with their places, ascending."""
        return zip(self._places, self._pieces, strict=True)

    def put(self, place: int, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` over what is there from byte ``place`` on."""
        stop = place + len(data)
        first, last = self._touched(place, stop)
        if first == last:
            self._places.insert(first, place)
            self._pieces.insert(first, bytearray(data))
            return
        begin, end = self._places[first], self._places[last - 1] + len(self._pieces[last - 1])
        if begin <= place and stop <= end and last - first == 1:
            self._pieces[first][place - begin : stop - begin] = data
            return
        head = self._pieces[first][: max(0, place - begin)]
        tail = self._pieces[last - 1][len(self._pieces[last - 1]) - max(0, end - stop) :]
        self._places[first:last] = [min(begin, place)]
        self._pieces[first:last] = [head + data + tail]

    def drop(self, place: int, stop: int) -> None:
        """Take out what is there from byte ``place`` to ``stop``."""
        first, last = self._touched(place, stop)
        kept = []
        for begin, piece in zip(self._places[first:last], self._pieces[first:last], strict=True):
            kept += [(begin, piece[: max(0, place - begin)])]
            kept += [(max(begin, stop), piece[max(0, stop - begin) :])]
        kept = [(begin, piece) for begin, piece in kept if piece]
        self._places[first:last] = [begin for begin, _ in kept]
        self._pieces[first:last] = [piece for _, piece in kept]

    def lay_over(self, place: int, data: memoryview) -> None:
        """Put the pieces into ``data``, which the file has from byte ``place`` on."""
        stop = place + len(data)
        for number in range(*self._touched(place, stop)):
            begin, piece = self._places[number], self._pieces[number]
            start, end = max(place, begin), min(stop, begin + len(piece))
            data[start - place : end - place] = piece[start - begin : end - begin]

    def _touched(self, place: int, stop: int) -> tuple[int, int]:
        """Give the first piece that has a byte from ``place`` to ``stop``, and that after these."""
        first = bisect_right(self._places, place) - 1
        if first < 0 or self._places[first] + len(self._pieces[first]) <= place:
            first += 1
        return first, max(first, bisect_left(self._places, stop))
