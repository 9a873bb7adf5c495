"""State of the page, as text in its address: another reader of the same file sees the same."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from urllib.parse import parse_qsl, quote, unquote

from ndx_simulation_output.errors import SelectionError

_SAFE = "/(){}[]*!$'@ "


@dataclass(frozen=True)
class PanelState:
    """A panel: its ``kind``, the ``name`` of what it shows, and the values of its controls.

    >>> PanelState.parse("traces:v_exc;numbers=0,2")
    PanelState(kind='traces', name='v_exc', options={'numbers': '0,2'})
    >>> str(PanelState("raster", "a;b:c", {"how": "max"}))
    'raster:a%3Bb%3Ac;how=max'
    """

    kind: str
    name: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the panel as text, from which ``parse`` makes it again."""
        options = (f";{quote(key, _SAFE)}={quote(value, _SAFE + ',')}"
                   for key, value in self.options.items() if value)  # fmt: skip
        return f"{self.kind}:{quote(self.name, _SAFE)}{''.join(options)}"

    @classmethod
    def parse(cls, text: str) -> "PanelState":
        """Return the panel that ``str`` wrote."""
        head, *options = text.split(";")
        kind, _, name = head.partition(":")
        pairs = (one.partition("=") for one in options)
        return cls(kind, unquote(name), {unquote(key): unquote(value) for key, _, value in pairs})


@dataclass(frozen=True)
class PageState:
    """What the page shows; the default is the first screen of a file.

    ``file`` and ``other`` (the one compared with it) are numbers of files, ``window`` and ``at``
    (the cursor) are in s, ``cells`` is the choice of cells and ``group_by`` the property that
    colours them, ``picked`` are a population and ids of its cells, ``compartment`` the section and
    position that was clicked, and ``panels`` is None for the panels of the first screen.
    """

    file: int = 0
    other: int | None = None
    difference: bool = False
    window: tuple[float, float] | None = None
    at: float | None = None
    cells: str = ""
    group_by: str = ""
    picked: tuple[str, tuple[int, ...]] = ("", ())
    compartment: tuple[int, float] | None = None
    panels: tuple[PanelState, ...] | None = None
    theme: str = ""

    @classmethod
    def parse(cls, query: str) -> "PageState":
        """Return the state in the query of an address; raise SelectionError if it has an error.

        >>> PageState.parse("?time=0.1,0.2&cell=exc:3").picked
        ('exc', (3,))
        """
        pairs = parse_qsl(query.lstrip("?#"), keep_blank_values=True)
        values = dict(pairs)
        panels = [value for key, value in pairs if key == "panel" and value]
        try:
            window = [float(one) for one in values.get("time", "").split(",") if one]
            population, _, ids = values.get("cell", "").rpartition(":")
            section, _, position = values.get("compartment", "").partition(",")
            state = cls(
                file=int(values.get("file", 0)),
                other=int(values["compare"]) if values.get("compare") else None,
                difference=bool(values.get("difference")),
                window=(window[0], window[1]) if window else None,
                at=float(values["at"]) if values.get("at") else None,
                cells=values.get("cells", ""),
                group_by=values.get("group_by", ""),
                picked=(population, tuple(int(one) for one in ids.split(",") if one)),
                compartment=(int(section), float(position)) if section else None,
                panels=tuple(map(PanelState.parse, panels)) if "panel" in values else None,
                theme=values.get("theme", ""),
            )
            state._check()
        except (ValueError, IndexError) as error:
            msg = f"the address is not one of this page: {error}"
            raise SelectionError(msg) from error
        return state

    def _check(self) -> None:
        times = (*(self.window or ()), *(() if self.at is None else (self.at,)))
        if not all(map(isfinite, times)):
            msg = "a time is not finite"
            raise ValueError(msg)
        if self.window and self.window[0] >= self.window[1]:
            msg = "the window ends before it begins"
            raise ValueError(msg)
        if any(abs(one) >= 2**63 for one in self.picked[1]):
            msg = "the id of a cell is too large"
            raise ValueError(msg)

    def query(self) -> str:
        """Return the state as the query of an address, without ``?``; the first screen is empty."""
        return "&".join(
            f"{key}={quote(value, _SAFE.replace(' ', '') + ':;,=')}" for key, value in self._items()
        )

    def _items(self) -> Iterator[tuple[str, str]]:
        if self.file:
            yield "file", str(self.file)
        if self.other is not None:
            yield "compare", str(self.other)
        if self.difference:
            yield "difference", "1"
        if self.window is not None:
            yield "time", ",".join(f"{one:.9g}" for one in self.window)
        if self.at is not None:
            yield "at", f"{self.at:.9g}"
        population, ids = self.picked
        picked = f"{population}:{','.join(map(str, ids))}" if ids else ""
        where = "" if self.compartment is None or not ids else "{},{:.6g}".format(*self.compartment)
        texts = {"cells": self.cells, "group_by": self.group_by, "cell": picked,
                 "compartment": where, "theme": self.theme}  # fmt: skip
        yield from ((key, value) for key, value in texts.items() if value)
        if self.panels is not None:
            yield from (("panel", str(panel)) for panel in self.panels or ("",))
