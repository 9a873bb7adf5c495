"""The ``Manager`` class, which records, plots, writes and reads vectors."""

import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning
from ndx_simulation_output.files import is_nwb
from ndx_simulation_output.neuronvisio.description import describe, restore
from ndx_simulation_output.neuronvisio.model import read_geometry
from ndx_simulation_output.neuronvisio.refs import (
    VECTORS,
    Contents,
    RefGroup,
    SynVecRef,
    VecRef,
    described,
    restored,
    values_of,
)
from ndx_simulation_output.neuronvisio.storage import read, write
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.morphology import Geometry, Section, sanitized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pynwb import NWBFile
    from typing_extensions import Self


def _neuron() -> Any:
    """Return NEURON's ``h`` with the standard run library loaded."""
    h = import_optional("neuron", "recording", "neuron").h
    h.load_file("stdrun.hoc")
    return h


def _recording_vectors(reference: Any, interval: float | None, point_process: Any) -> Any:
    """Return a vector that records ``reference`` at each time step, or every ``interval`` ms.

    NEURON uses ``point_process`` to determine the thread.
    """
    h = _neuron()
    if interval and h.ParallelContext().nthread() > 1:
        warnings.warn(
            "NEURON samples at wrong times if it records at an interval in several threads; omit "
            "time_interval_recording, or use one thread",
            SimulationOutputWarning,
            stacklevel=2,
        )
    hint = () if point_process is None else (point_process,)
    steps = (interval,) if interval else ()
    return h.Vector().record(*hint, reference, *steps)


def _reference(section: Any, name: str) -> Any:
    """Return NEURON's pointer to a variable at 0.5, such as v or vext[0]; None if it has none.

    Raises RecordingError for an array without the number of an element.
    """
    variable, bracket, _ = name.partition("[")
    segment = section(0.5)
    if not hasattr(section, variable):
        return None
    array: Any = getattr(segment, variable, None)
    if not hasattr(array, "__len__"):
        return None if bracket else getattr(segment, f"_ref_{variable}")
    try:
        array[0]
    except AttributeError:  # A section knows the arrays of mechanisms that it does not have.
        return None
    elements = [f"{variable}[{index}]" for index in range(len(array))]
    if name not in elements:
        msg = (
            f"{variable} of {section.name()} is an array; found {name!r}, expected one of: "
            f"{', '.join(elements)}"
        )
        raise RecordingError(msg)
    return getattr(segment, f"_ref_{variable}")[elements.index(name)]


_TIME = "t"
_logger = logging.getLogger(__name__)


class Manager:
    """Records and stores variables; ``refs`` maps group names to lists of references.

    ``groups`` maps group names to independent variables; ``groups["t"]`` is the time (ms).
    Units are those of NEURON: mV, nA, mM, and mA/cm2 for currents of mechanisms.

    Example
    -------
    >>> import numpy as np
    >>> from ndx_simulation_output.neuronvisio import BaseRef
    >>> manager = Manager()
    >>> ref = BaseRef()
    >>> ref.sec_name, ref.vecs = "spine1", {"ca": np.array([0.1, 0.2, 0.4])}
    >>> manager.add_ref(ref, [0.0, 0.5, 1.25])
    >>> manager.save_to_hdf("storage.h5")  # doctest: +SKIP
    >>> manager.save("run.nwb")  # doctest: +SKIP

    """

    def __init__(self) -> None:
        """Create a manager without references."""
        self.refs: dict[str, list[Any]] = {}
        self.groups: dict[str, Any] = {}
        self.results_root = "results"
        self.geometry_root = "geometry"
        self.geometry_node_name = "geom"
        self.dirRoot: str | None = None
        self._geometry = Geometry()

    # Recording

    def add_vecRef(  # noqa: N802 - the names of Neuronvisio
        self,
        var: str,
        sec: Any,
        time_interval_recording: float | None = None,
        point_process: Any = None,
    ) -> bool:
        """Record a variable (v, vext[0]) at the midpoint (0.5) of a section, and the time.

        ``time_interval_recording`` (ms) is the sampling interval, by default the time step. Return
        False if the section has no such variable or it is already recorded.

        Raises
        ------
        RecordingError
            If the variable is an array, and its element is not given or does not exist.
        MissingDependencyError
            If NEURON is not installed.

        """
        known = [ref for ref in self.refs.get(VECTORS, ()) if ref.sec_name == sec.name()]
        return self._record(var, sec, known, time_interval_recording, point_process)

    def add_all_vecRef(  # noqa: N802
        self, var: str, time_interval_recording: float | None = None, point_process: Any = None
    ) -> None:
        """Record a variable of each section that has it, at position 0.5.

        Raises
        ------
        RecordingError
            If the variable is an array, and its element is not given or does not exist.
        MissingDependencyError
            If NEURON is not installed.

        """
        known: dict[str, list[Any]] = {}
        for ref in self.refs.get(VECTORS, ()):
            known.setdefault(ref.sec_name, []).append(ref)
        skipped = [
            sec
            for sec in _neuron().allsec()
            if not self._record(
                var, sec, known.get(sec.name(), []), time_interval_recording, point_process
            )
        ]
        if skipped:
            _logger.warning("%s: not recorded in %d sections", var, len(skipped))

    def add_ref(self, generic_ref: Any, x: Any) -> None:
        """Add a reference. ``x`` is the independent variable of its group if the group is new."""
        group = generic_ref.group_id
        self.refs.setdefault(group, []).append(generic_ref)
        if group not in self.groups:
            self.groups[group] = x
        elif not _are_same(self.groups[group], x):
            warnings.warn(
                f"group {group!r} has the x of its first reference; for another x, give the "
                "reference another group_id",
                SimulationOutputWarning,
                stacklevel=2,
            )

    def add_synVecRef(self, synapse: Any) -> None:  # noqa: N802
        """Add the vectors of a synapse, which has ``chan_type``, ``section`` and ``vecs``.

        Raises
        ------
        KeyError
            If the time is not recorded.

        """
        ref = SynVecRef(synapse.chan_type, synapse.section.name(), synapse.vecs)
        self.add_ref(ref, self.groups[_TIME])

    def create_record_vector(
        self, sec: Any, var: str, time_interval_recording: float | None = None
    ) -> Any:
        """Return a vector of NEURON that records a variable of a section at its position 0.5."""
        reference = _reference(sec, var)
        if reference is None:
            msg = f"{sec.name()} has no variable {var!r}"
            raise AttributeError(msg)
        hint = self.find_point_process(sec)
        return _recording_vectors(reference, time_interval_recording, hint)

    def create_time_record(
        self, time_interval_recording: float | None = None, point_process: Any = None
    ) -> Any:
        """Record the time as ``groups["t"]`` and return its vector."""
        h = _neuron()
        self.groups[_TIME] = _recording_vectors(h._ref_t, time_interval_recording, point_process)  # noqa: SLF001
        return self.groups[_TIME]

    def find_point_process(self, sec: Any) -> Any:
        """Return the first point process of a section, or None."""
        return next((process for segment in sec for process in segment.point_processes()), None)

    def _record(
        self, var: str, sec: Any, known: list[Any], interval: float | None, point_process: Any
    ) -> bool:
        if _reference(sec, var) is None:
            return False
        ref = next((ref for ref in known if ref.sec is None or ref.sec == sec), None)
        if ref is not None and var in ref.vecs:
            return False
        vector = self.create_record_vector(sec, var, interval)
        if _TIME not in self.groups:
            self.create_time_record(interval, point_process or self.find_point_process(sec))
        if ref is None:
            ref = VecRef(sec)
            self.add_ref(ref, self.groups[_TIME])
        ref.vecs[var] = vector
        return True

    # Values and plots

    def get_vector(self, sec: Any, var: str, group: str = VECTORS) -> Any:
        """Return the vector of a variable of a section, or None.

        ``sec`` is a section, its full name, or its name in a storage, such as ``dend_1``.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        name = sec if isinstance(sec, str) else sec.name()
        refs = self.refs[group]
        for known in (lambda ref: ref.sec_name, lambda ref: sanitized(ref.sec_name)):
            for ref in refs:
                if known(ref) == name and var in ref.vecs:
                    return ref.vecs[var]
        return None

    def get_vectors(self, section_list: Iterable[Any], var: str) -> dict[str, Any]:
        """Return a dict from section names to the vector of a variable, or None if not recorded."""
        return {sec.name(): self.get_vector(sec, var) for sec in section_list}

    def get_time(self) -> Any:
        """Return the time of NEURON.

        Raises
        ------
        KeyError
            If it is not recorded.

        """
        return self.groups[_TIME]

    def sum_vector(self, vector_1: Any, vector_2: Any) -> NDArray[Any]:
        """Return the element-wise sum of two vectors."""
        total: NDArray[Any] = values_of(vector_1) + values_of(vector_2)
        return total

    def get_tree(self, sec: Any) -> list[Any]:
        """Return the path from a section to the root: the section, its parent, and so on."""
        sections = [sec]
        while (parent := sections[-1].parentseg()) is not None:
            sections.append(parent.sec)
        return sections

    def get_distance(self, sections: Iterable[Any], base_sec: Any) -> dict[str, float]:
        """Return the distance (um) of the end of each section from that of ``base_sec``."""
        return {
            sec.name(): sum(part.L for part in self.get_tree(sec)) - base_sec.L for sec in sections
        }

    def create_3d_grid(
        self, distance_dic: Mapping[str, float], time: Any, variable_dic: Mapping[str, Any]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return times, distances and values of sections, each of shape (section, time)."""
        names = sorted(distance_dic, key=lambda name: distance_dic[name])
        distances = np.asarray([distance_dic[name] for name in names])
        times, grid = np.meshgrid(values_of(time), distances)
        return times, grid, np.asarray([values_of(variable_dic[name]) for name in names])

    def plot_vecs(
        self,
        vecs_dic: Mapping[str, Any],
        x: Any = None,
        legend: bool = True,  # noqa: FBT001, FBT002 - the arguments of Neuronvisio
        figure_num: int | None = None,
        points: bool = False,  # noqa: FBT001, FBT002
    ) -> "Axes":
        """Draw a dict of vectors by section name, as returned by ``get_vectors``; return the axes.

        ``x`` is by default the time of NEURON; vectors whose length differs from ``x`` are drawn by
        index. ``figure_num`` is the figure number; by default, a new figure is created.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.

        """
        from ndx_simulation_output.plots.canvas import axes_or_new
        from ndx_simulation_output.plots.traces import vectors

        named = {name: values_of(vector) for name, vector in vecs_dic.items() if vector is not None}
        x = self.groups.get(_TIME) if x is None else x
        along = None if x is None else values_of(x)
        for name, values in named.items():
            if along is None or len(values) != len(along):
                _logger.info("%s differs from x in length and is drawn by index", name)
        ax = axes_or_new(None, number=figure_num)
        return vectors(named, along, legend=legend, points=points, ax=ax)

    def plot3D(self, sections: Iterable[Any], base_sec: Any, var: str) -> "Figure":  # noqa: N802
        """Draw a variable of sections over time, each at its distance from ``base_sec``.

        Raises
        ------
        KeyError
            If the time is not recorded.
        MissingDependencyError
            If matplotlib is not installed.

        """
        from ndx_simulation_output.plots.traces import vectors_along

        sections = list(sections)
        found = self.get_vectors(sections, var)
        named = {name: values_of(vector) for name, vector in found.items() if vector is not None}
        distances = self.get_distance(sections, base_sec)
        time = values_of(self.get_time())
        drawn: Any = vectors_along(named, distances, time, var)
        figure: Figure = drawn.figure
        return figure

    # Files

    def create_new_dir(self, prefix: str = "./", root: str = "Sims") -> str:
        """Create ``prefix/root/dd-mm-YYYY/Sim_n`` with the smallest free n and return the path."""
        self.dirRoot = os.path.join(prefix, root)  # noqa: PTH118 - text as the original gives it
        day = os.path.join(self.dirRoot, f"{datetime.now().astimezone():%d-%m-%Y}")  # noqa: PTH118
        for number in count():
            path = os.path.join(day, f"Sim_{number}")  # noqa: PTH118
            try:
                Path(path).mkdir(parents=True)
            except FileExistsError:
                continue
            return path
        raise AssertionError

    def sanitized_sec(self, name: str) -> str:
        """Return the name of a section in a storage, such as ``dend_1`` for ``dend[1]``."""
        return sanitized(name)

    def save_to_hdf(self, filename: str | Path) -> None:
        """Write a ``storage.h5`` in the layout of Neuronvisio; an existing file is replaced.

        If there are no references, a warning is issued and no file is written.

        Raises
        ------
        ExportError
            If the values of a vector are not numbers, booleans or bytes.
        WriteError
            If the file cannot be written. An existing file is then unchanged.

        """
        if self._has_references():
            write(self._contents(), Path(filename))

    def load_from_hdf(self, filename: str | Path) -> None:
        """Add the references of a ``storage.h5``, with their values in memory.

        Raises
        ------
        SourceError
            If the file cannot be read or contradicts the format.

        """
        with warnings.catch_warnings():
            # The units matter only when an NWB file is written.
            warnings.simplefilter("ignore", SimulationOutputWarning)
            output = read(filename)
        with output:
            self._add(output)

    @classmethod
    def load(cls, path: str | Path) -> "Self":
        """Return a manager with the references of a ``storage.h5`` or of an NWB file.

        References of your own classes are loaded as :class:`BaseRef`.

        Raises
        ------
        SourceError
            If the file cannot be read, or was not written from references.

        """
        from ndx_simulation_output.nwb import reader

        manager = cls()
        if not is_nwb(Path(path)):
            manager.load_from_hdf(path)
            return manager
        with reader.read(Path(path)) as output:
            manager._add(output)
        return manager

    def to_output(
        self,
        *,
        unit: Mapping[str, str] | None = None,
        time_unit: Mapping[str, str] | None = None,
    ) -> SimulationOutput:
        """Return all references as an output; the traces of each group and variable form a report.

        ``unit`` and ``time_unit`` are the same as for ``convert``.

        Raises
        ------
        UnitError
            If a unit is invalid, or is specified for a name that does not exist.

        """
        return describe(self._contents(), unit or {}, time_unit or {})

    def to_nwb(
        self,
        nwbfile: "NWBFile",
        *,
        unit: Mapping[str, str] | None = None,
        time_unit: Mapping[str, str] | None = None,
    ) -> None:
        """Add all references to an NWB file in memory that does not contain a simulation yet.

        Raises
        ------
        NameClashError
            If the NWB file already contains a simulation.
        UnitError
            If a unit is invalid, or is specified for a name that does not exist.
        ExportError
            If a vector contains Python objects.

        """
        from ndx_simulation_output.nwb.mapping import add_in_memory

        add_in_memory(nwbfile, self.to_output(unit=unit, time_unit=time_unit))

    def save(
        self,
        target: str | Path,
        *,
        metadata: str | Path | Mapping[str, Any] | None = None,
        unit: Mapping[str, str] | None = None,
        time_unit: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write all references to an NWB file; the options are the same as for ``convert``.

        If there are no references, a warning is issued and no file is written.

        Raises
        ------
        TargetExistsError
            If the target exists and ``overwrite`` is false.
        UnitError
            If a unit is invalid, or is specified for a name that does not exist.
        MetadataError
            If the metadata are not valid for NWB.
        ExportError
            If a vector contains Python objects.
        WriteError
            If the target cannot be written. An existing file is then unchanged.

        """
        from ndx_simulation_output.nwb import writer
        from ndx_simulation_output.nwb.metadata import read_metadata

        if self._has_references():
            output = self.to_output(unit=unit, time_unit=time_unit)
            sections = read_metadata(metadata)
            writer.write(output, Path(target), metadata=sections, overwrite=overwrite)

    def _has_references(self) -> bool:
        if not self.refs:
            warnings.warn(
                "there are no references, so no file is written",
                SimulationOutputWarning,
                stacklevel=3,
            )
        return bool(self.refs)

    def _contents(self) -> Contents:
        """Return the current values of all references, and the geometry of the model."""
        geometry, places = self._geometry, dict[Any, Section]()
        sections = (getattr(ref, "sec", None) for refs in self.refs.values() for ref in refs)
        if any(section is not None for section in sections):
            h = _neuron()
            geometry, places = read_geometry(h.allsec(), str(h.nrnversion(0)))
        groups = [
            RefGroup(
                name,
                None if self.groups.get(name) is None else values_of(self.groups[name]),
                tuple(described(ref, geometry, places) for ref in refs),
            )
            for name, refs in self.refs.items()
        ]
        return Contents(tuple(groups), geometry)

    def _add(self, output: SimulationOutput) -> None:
        contents = restore(output)
        for group in contents.groups:
            if group.x is not None:
                self.groups[group.name] = read_all(group.x)
            if group.name == VECTORS and group.name in self.groups:
                self.groups[_TIME] = self.groups[group.name]
            self.refs.setdefault(group.name, []).extend(
                restored(group.name, ref) for ref in group.refs
            )
        if contents.geometry.sections:
            self._geometry = contents.geometry


def _are_same(x: Any, other: Any) -> bool:
    return x is other or np.array_equal(values_of(x), values_of(other))
