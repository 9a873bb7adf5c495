"""What is done with a damaged file, and how right results are known without the package."""

import contextlib
import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from bokeh.document import Document

from ndx_simulation_output import annarchy, convert, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import SelectionError, SimulationOutputError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.storage.reading import HDF5Array
from ndx_simulation_output.storage.sources import check_source
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from ndx_simulation_output.viewer.tree import open_hdf5, read_children, read_node
from tests.fuzzing.mutations import SECRET
from tests.sonata.making import SESSION
from tests.web_server import Server

__all__ = ["OPERATIONS", "Given", "NotClearError", "WrongError"]

_MOST_BYTES = 2**24
_MOST_LETTERS = 1500


class WrongError(Exception):
    """A value, or a file that stayed, is not what it should be."""


class NotClearError(Exception):
    """An error has several lines, is very long, or does not name the file."""


@dataclass(frozen=True)
class Given:
    """A source, the options of ``open_output`` that it needs, and a function that damages it."""

    source: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    damage: Callable[[], object] = lambda: None

    def open(self) -> SimulationOutput:
        """Open it."""
        return open_output(self.source, **self.options)

    @property
    def flags(self) -> list[object]:
        """The options on a command line."""
        return [part for name, value in self.options.items() for part in (f"--{name}", value)]


def _read(given: Given, place: Path) -> None:
    """Compare what is read with what h5py reads of the same dataset of the same file."""
    del place
    with given.open() as output:
        for array in _arrays_in(output):
            _compare_with_h5py(array)


def _arrays_in(item: Any, depth: int = 0) -> Iterator[HDF5Array]:
    if isinstance(item, HDF5Array):
        yield item
    elif depth > 6 or isinstance(item, (str, bytes, np.ndarray, h5py.Dataset)):
        return
    elif dataclasses.is_dataclass(item):
        for field in dataclasses.fields(item):
            yield from _arrays_in(getattr(item, field.name, None), depth + 1)
    elif isinstance(item, dict):
        for inside in item.values():
            yield from _arrays_in(inside, depth + 1)
    elif isinstance(item, (list, tuple)):
        for inside in item:
            yield from _arrays_in(inside, depth + 1)


def _compare_with_h5py(array: HDF5Array) -> None:
    if array.dataset.size * array.dtype.itemsize > _MOST_BYTES:
        return
    failure = theirs = None
    if array.dtype.kind == "O":
        return  # Texts are read in several ways, and references of HDF5 do not equal themselves.
    try:
        theirs = array.dataset[()]
    except Exception as error:  # noqa: BLE001 - whatever h5py raises
        failure = error
    ours = np.asarray(array[...])
    if failure is not None:
        msg = f"{array.dataset.name} was read, but h5py cannot read it: {failure}"
        raise WrongError(msg)
    _same(ours, theirs, f"{array.dataset.name} as h5py reads it")


def _same(found: Any, expected: Any, what: str) -> None:
    try:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    except AssertionError as error:
        msg = f"{what} differs: {' '.join(str(error).split())[:300]}"
        raise WrongError(msg) from None
    except ValueError:  # numpy cannot compare some structures.
        if np.asarray(found).tolist() != np.asarray(expected).tolist():
            msg = f"{what} differs"
            raise WrongError(msg) from None


def _info(given: Given, place: Path) -> None:
    del place
    _run("info", given.source, *given.flags)
    _run("info", given.source, *given.flags, "--json")


def _check(given: Given, place: Path) -> None:
    del place
    _run("check", given.source, failing=1)


def _plot(given: Given, place: Path) -> None:
    _run("plot", given.source, *given.flags, "-o", place / "picture.png", "--dpi", "40")


def _notebook(given: Given, place: Path) -> None:
    del place
    with given.open() as output:
        output._repr_html_()
        for item in (*output.reports, *output.spikes):
            item._repr_html_()


def _frames(given: Given, place: Path) -> None:
    """Read with every method that users call."""
    del place
    with given.open() as output:
        for report in output.reports:
            if report.data.shape[0] * report.data.shape[1] > _MOST_BYTES:
                continue
            cells = report.compartments.cell_ids[:2]
            report.get_traces()
            report.get_traces(cells=cells)
            traces = report.select(cells=cells)
            traces.to_dataframe()
            traces.to_xarray()
            report.to_dask().sum().compute(scheduler="synchronous")
        for potential in output.potentials:
            potential.get_traces(potential.channel_ids[:1])


_MOST_PANELS = 30


def _view(given: Given, place: Path) -> None:
    del place
    page = open_page(Document(), [ViewedFile(given.source, given.options)], Downloads())
    session = page.session
    _check_shown(session.message.text)
    for offer in page.contents.offers[:_MOST_PANELS]:
        page.open(offer)
        _check_shown(session.message.text)
        _check_shown(page.cards[-1].panel.note.text if page.cards else "")
    session.close()
    if given.source.is_file() and h5py.is_hdf5(given.source):
        with open_hdf5(given.source) as file:
            check_source(file)
            _walk(file, "/", 0)


def _check_shown(text: str) -> None:
    """The page shows errors of programming by the name of their class."""
    shown = text.rpartition('">')[2]
    if shown.split(":")[0].removesuffix("Error").isidentifier() and "Error:" in shown:
        msg = f"the page shows {shown[:300]}"
        raise NotClearError(msg)


def _walk(file: h5py.File, path: str, depth: int) -> None:
    read_node(file, path)
    children, _ = read_children(file, path)
    for child in children[:50] if depth < 4 else ():
        if child.kind in {"group", "dataset"}:
            _walk(file, child.path, depth + 1)


def _converted(given: Given, target: Path, *options: str) -> None:
    session = _session(target.parent)
    _run("convert", given.source, target, "--metadata", session, *given.flags, *options)
    if target.exists():
        with given.open() as before, open_output(target) as after:
            _compare(before, after)


def _session(place: Path) -> Path:
    path = place.parent / "session.json"
    if not path.exists():
        path.write_text(json.dumps(SESSION))
    return path


def _convert(given: Given, place: Path) -> None:
    _converted(given, place / "target.nwb")
    shutil.rmtree(place)
    place.mkdir()
    _converted(given, place / "target.nwb", "--compression", "gzip", "--access", "cells")


def _zarr(given: Given, place: Path) -> None:
    _converted(given, place / "target.nwb.zarr")


def _compare(
    before: SimulationOutput,
    after: SimulationOutput,
    values_of: Callable[[SimulationOutput], Iterator[tuple[str, Any]]] | None = None,
) -> None:
    values_of = values_of or _values_of
    found = dict(values_of(after))
    for what, values in values_of(before):
        if what in found:
            if np.asarray(values).nbytes < _MOST_BYTES:
                _same(found[what], values, what)
        elif not any("left out" in note for note in after.notes):
            msg = f"{what} was lost without a note"
            raise WrongError(msg)


def _values_of(output: SimulationOutput) -> Iterator[tuple[str, Any]]:
    """Yield the values that a conversion must keep, by what they are."""
    for report in output.reports:
        if report.data.shape[0] * report.data.shape[1] < _MOST_BYTES:
            yield f"data of report {report.name}", report.data[:, :]
        yield f"ids of report {report.name}", report.compartments.cell_ids[:]
        yield f"times of report {report.name}", report.times.seconds()
        unit = [report.unit.name, str(report.unit.conversion), str(report.unit.offset)]
        yield f"unit of report {report.name}", np.array(unit)
        for name, values in report.compartments.cell_columns.items():
            yield f"{name} of the cells of report {report.name}", values[:]
    for spikes in output.spikes:
        yield f"times of spikes of {spikes.population}", spikes.times
        yield f"ids of spikes of {spikes.population}", spikes.node_ids
    for potential in output.potentials:
        yield f"data of {potential.name}", potential.data[:, :]
        yield f"channels of {potential.name}", np.asarray(potential.channel_ids)
    for part in (part for network in output.networks for part in network.parts):
        for quantity in part.quantities:
            yield f"{quantity.name} of {part.name or 'unnamed'}", quantity.values[...]
    for path, group in (found for top in output.arrays for found in top.walk()):
        yield from ((f"{path}/{array.name}", array.values[...]) for array in group.arrays)


def _export(given: Given, place: Path) -> None:
    _run("export", given.source, place / "sonata")


def _export_state(given: Given, place: Path) -> None:
    _run("export", given.source, place / "state.npz")


def _circuit(given: Given, place: Path) -> None:
    """Read every property and connection, and store them; choose cells by property."""
    with given.open() as output:
        _choose_cells(output)
    target = place / "target.nwb"
    _converted(given, target, "--circuit", "--edges")
    if target.exists():
        with given.open() as before, open_output(target) as after:
            _compare(before, after, _values_of_circuit)
        _run("check", target, failing=1)
        _run("info", target)


def _choose_cells(output: SimulationOutput) -> None:
    """Choose cells by each property, and by each node set."""
    for report in output.reports:
        table = report.compartments.cells
        for name, values in table.columns.items():
            if (found := np.asarray(values[:])).ndim == 1 and len(found):
                expected = np.flatnonzero(found == found[0]) if found[0] == found[0] else []
                _same(table.rows_of({name: found[0]}), expected, f"cells by {name}")
        for name in table.node_sets:
            with contextlib.suppress(SelectionError):
                report.select(cells=name)


def _group(given: Given, place: Path) -> None:
    """Draw the recordings grouped by a property that cells have."""
    with given.open() as output:
        names = [name for report in output.reports for name in report.compartments.cell_columns]
    for name in names[-1:]:
        target = place / "picture.png"
        _run("plot", given.source, *given.flags, "-o", target, "--dpi", "40", "--group-by", name)


def _values_of_circuit(output: SimulationOutput) -> Iterator[tuple[str, Any]]:
    """Yield the properties of cells and connections that ``convert --circuit --edges`` keeps."""
    circuit = output.circuit
    for cells in circuit.populations if circuit else ():
        yield f"ids of {cells.population}", cells.ids[:]
        for name, values in cells.columns.items():
            yield f"{name} of {cells.population}", values[:]
    for edges in circuit.connections if circuit else ():
        order = np.argsort(edges.target_ids[:], kind="stable")
        for name in ("source_ids", "target_ids"):
            yield f"{name} of {edges.name}", np.asarray(getattr(edges, name)[:])[order]


def _recover(given: Given, place: Path) -> None:
    _run("recover", given.source, "-o", place / "target.nwb")
    if (place / "target.nwb").exists():
        with contextlib.suppress(SimulationOutputError):  # Chunks are copied as they are.
            _read(Given(place / "target.nwb"), place)


def _parameters(given: Given, place: Path) -> None:
    del place
    text = given.source.read_text(encoding="utf-8", errors="replace")
    annarchy.parse_parameters(text, str(given.source))


def _monitors(given: Given, place: Path) -> None:
    del place
    with annarchy.read_recordings(given.source, dt=0.5, population="exc", variable="v") as output:
        for array in _arrays_in(output):
            _compare_with_h5py(array)


def _metadata(given: Given, place: Path) -> None:
    convert(given.source.with_name("v.h5"), place / "target.nwb", metadata=given.source)


def _change(given: Given, place: Path) -> None:
    """Change an open file: what is read is as before or as after, or an error says so."""
    del place
    with given.open() as output:
        _check_changing(given, output)


def _serve(given: Given, place: Path) -> None:
    """Read from a web server, and compare with what h5py reads of the bytes of the file."""
    del place
    with (
        Server(given.source.parent).running() as server,
        open_output(server.url(given.source.name)) as output,
    ):
        _check_changing(given, output)


def _check_changing(given: Given, output: SimulationOutput) -> None:
    arrays = list(_arrays_in(output))
    names = [array.dataset.name for array in arrays]
    before = _read_with_h5py(given.source, names)
    for array in arrays:
        array[:1]
    given.damage()
    after = _read_with_h5py(given.source, names)
    for array in arrays:
        found, name = np.asarray(array[...]), array.dataset.name
        known = [values[name] for values in (before, after) if name in values]
        if not any(np.array_equal(found, values, equal_nan=True) for values in known):
            msg = f"{name} is neither as before nor as after the change"
            raise WrongError(msg)


_REFUSED_BY_H5PY = (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError)


def _read_with_h5py(path: Path, names: list[str]) -> dict[str, Any]:
    values = {}
    with contextlib.suppress(OSError), h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
        for name in names:
            with contextlib.suppress(*_REFUSED_BY_H5PY):
                values[name] = file[name][()]
    return values


def _refer(given: Given, place: Path) -> None:
    """Convert and export; nothing of a file elsewhere may get into the results."""
    _converted(given, place / "target.nwb")
    _run("export", place / "target.nwb", place / "sonata")
    for path in place.rglob("*"):
        if path.is_file() and SECRET in path.read_bytes():
            msg = f"{path.name} has the contents of another file"
            raise WrongError(msg)


def _run(*arguments: object, failing: int | None = None) -> None:
    """Run a command; raise NotClearError if its error is not a line."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = main([str(argument) for argument in arguments], standalone_mode=False)
        except SystemExit as ended:
            status = ended.code
    if status in {0, None}:
        return
    lines = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
    if failing is not None and status == failing and not lines:
        return
    if len(lines) != 1:
        msg = f"exit status {status} with {len(lines)} lines of errors: {errors.getvalue()[:300]}"
        raise NotClearError(msg)
    raise SimulationOutputError(lines[0])


OPERATIONS: dict[str, Callable[[Given, Path], None]] = {
    "read": _read,
    "info": _info,
    "notebook": _notebook,
    "frames": _frames,
    "plot": _plot,
    "view": _view,
    "convert": _convert,
    "zarr": _zarr,
    "check": _check,
    "export": _export,
    "export_state": _export_state,
    "circuit": _circuit,
    "group": _group,
    "recover": _recover,
    "change": _change,
    "serve": _serve,
    "refer": _refer,
    "parameters": _parameters,
    "monitors": _monitors,
    "metadata": _metadata,
}
"""Operations by name: functions of the input and of an empty directory for what they write."""
