"""Read parts of a JSON file of any size: small values as objects, lists of numbers into a file.

The whole file is never in memory: a value is found by its position, and numbers are parsed by
blocks of some megabytes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.storage.temporary import GrowingArray

if TYPE_CHECKING:
    from typing_extensions import Self

_BLOCK = 2**22
_MOST_BYTES = 2**28
"""Largest value that is read as an object, such as a cell or the configuration."""

_SPACE = re.compile(rb"[ \t\r\n]*")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SIGNS = b'"[]{}'
_SCALAR = re.compile(rb"[^,\]}\s]+")


class Numbers(NamedTuple):
    """Where the numbers of a list are: from ``start`` in the file of all, in ``shape``."""

    start: int
    shape: tuple[int, ...]


class JsonFile:
    """A JSON file, read from its start or from a position; use it in a ``with`` block."""

    def __init__(self, path: Path) -> None:
        """Open the file."""
        self.path = path
        self._file = path.open("rb")
        self.seek(0)
        if self._ahead(3).startswith(b"\xef\xbb\xbf"):
            self._at = 3

    def __enter__(self) -> "Self":
        """Return this file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    @property
    def position(self) -> int:
        """The position of the next byte."""
        return self._start + self._at

    def seek(self, position: int) -> None:
        """Go to a position where a value begins."""
        self._file.seek(position)
        self._start, self._data, self._at = position, b"", 0
        self._next: dict[int, int] = {}

    def _more(self) -> bool:
        """Read another block; return False at the end of the file."""
        read = self._file.read(max(_BLOCK, len(self._data) - self._at))
        self._start += self._at
        self._data, self._at = self._data[self._at :] + read, 0
        self._next = {}
        return bool(read)

    def _sign(self, at: int) -> int:
        """Return the position of the next of ``_SIGNS`` in the block, or its end.

        Bytes are searched once for each sign: numbers between signs take no time.
        """
        end = len(self._data)
        for sign in _SIGNS:
            if self._next.get(sign, -1) < at:
                found = self._data.find(sign, at)
                self._next[sign] = end if found < 0 else found
        return min(self._next.values())

    def _ahead(self, count: int) -> bytes:
        while len(self._data) - self._at < count and self._more():
            pass
        return self._data[self._at : self._at + count]

    def peek(self) -> bytes:
        """Return the next byte that is not white space."""
        while True:
            found = _SPACE.match(self._data, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._data) or not self._more():
                return self._data[self._at : self._at + 1]

    def _take(self, expected: bytes) -> None:
        if self.peek() != expected:
            self._fail(expected.decode())
        self._at += 1

    def _fail(self, expected: str) -> NoReturn:
        """Raise SourceError about the next byte."""
        found = self._data[self._at : self._at + 20].decode("utf-8", "replace") or "the end"
        msg = f"{self.path} is not valid JSON at byte {self.position}: {found!r}; expected "
        raise SourceError(msg + expected)

    def _text(self) -> str:
        if self.peek() != b'"':
            self._fail("text")
        while not (found := _TEXT.match(self._data, self._at)):
            if len(self._data) - self._at > _MOST_BYTES or not self._more():
                self._fail("the end of text")
        self._at = found.end()
        return str(self._loads(found[0]))

    def _loads(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            msg = f"{self.path} is not valid JSON before byte {self.position}: {error}"
            raise SourceError(msg) from None

    def members(self) -> Iterator[str]:
        """Yield the names of an object; the caller reads or skips each value."""
        self._take(b"{")
        if self.peek() == b"}":
            self._at += 1
            return
        while True:
            name = self._text()
            self._take(b":")
            yield name
            if self.peek() == b"}":
                self._at += 1
                return
            self._take(b",")

    def items(self) -> Iterator[int]:
        """Yield the index of each value of a list; the caller reads or skips it."""
        self._take(b"[")
        if self.peek() == b"]":
            self._at += 1
            return
        index = 0
        while True:
            yield index
            index += 1
            if self.peek() == b"]":
                self._at += 1
                return
            self._take(b",")

    def skip(self) -> None:
        """Go to the end of a value."""
        for _ in self._pieces():
            pass

    def read(self) -> Any:
        """Return a value as an object."""
        size, pieces = 0, []
        position = self.position
        for piece in self._pieces():
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_BYTES:
                msg = f"{self.path} has a value of more than {_MOST_BYTES} bytes at {position}"
                raise SourceError(msg)
        return self._loads(b"".join(pieces))

    def _pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the next value, some at a time."""
        first = self.peek()
        if first not in {b"{", b"["}:
            if first == b'"':
                yield json.dumps(self._text()).encode()
                return
            self._ahead(64)
            found = _SCALAR.match(self._data, self._at)
            if not found:
                self._fail("a value")
            self._at = found.end()
            yield found[0]
            return
        depth, at = 0, self._at
        while True:
            while (at := self._sign(at)) < len(self._data):
                sign = self._data[at : at + 1]
                if sign == b'"':
                    if not (found := _TEXT.match(self._data, at)):
                        break  # It ends in the next block.
                    at = found.end()
                    continue
                at += 1
                depth += 1 if sign in b"{[" else -1
                if not depth:
                    piece, self._at = self._data[self._at : at], at
                    yield piece
                    return
            piece, self._at = self._data[self._at : at], at
            yield piece
            if len(self._data) - self._at > _MOST_BYTES or not self._more():
                self._fail("the end of a list or object")
            at = self._at

    def data(self, numbers: GrowingArray) -> Any:
        """Return a value whose lists of numbers are appended to ``numbers``.

        Objects are dicts; a list is ``Numbers``, those of lists of one length with two dimensions,
        and any other list is an object.
        """
        if (first := self.peek()) == b"{":
            return {name: self.data(numbers) for name in self.members()}
        if first != b"[":
            return self.read()
        start, position = len(numbers), self.position
        try:
            self._at += 1
            if self.peek() != b"[":
                self._numbers(numbers)
                return Numbers(start, (len(numbers) - start,))
            self.seek(position)
            return self._matrix(numbers)
        except SourceError:
            self.seek(position)
            return self.read()

    def _matrix(self, numbers: GrowingArray) -> Numbers:
        start, lengths, rows = len(numbers), set(), 0
        for index in self.items():
            before = len(numbers)
            self._take(b"[")
            self._numbers(numbers)
            lengths.add(len(numbers) - before)
            rows = index + 1
        if len(lengths) > 1:
            self._fail("rows of one length")
        return Numbers(start, (rows, lengths.pop()))

    def _numbers(self, numbers: GrowingArray) -> None:
        """Append the numbers to the end of a list, of which the bracket is read."""
        while True:
            end = self._sign(self._at)
            is_end = end < len(self._data)
            end = end if is_end else self._data.rfind(b",", self._at)
            if end >= self._at:
                if text := self._data[self._at : end].strip():
                    numbers.append(self._parse(text))
                self._at = end + (not is_end)
            if is_end:
                self._take(b"]")
                return
            if not self._more():
                self._fail("the end of a list")

    def _parse(self, text: bytes) -> NDArray[np.float64]:
        """Return the numbers between commas; null, true and false are none."""
        if b"u" in text or b"l" in text:
            self._fail("numbers")
        return np.array(self._loads(b"[" + text + b"]"), np.float64)
