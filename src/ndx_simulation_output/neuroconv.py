"""NeuroConv interfaces of the sources that ``convert`` reads.

Use them in an ``NWBConverter``, with the interfaces of other data. Values are read in blocks while
NeuroConv writes them, in chunks as :doc:`/explanation/storage` describes.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pynwb import NWBFile

from ndx_simulation_output import sonata
from ndx_simulation_output.api import with_circuit
from ndx_simulation_output.errors import (
    LayoutError,
    MetadataError,
    MissingDependencyError,
    SourceError,
)
from ndx_simulation_output.formats import read_as
from ndx_simulation_output.nwb.arrays import ArrayBlocks, array_blocks
from ndx_simulation_output.nwb.mapping import (
    add_output,
    describe_session,
    has_simulated_tables,
    plan_output,
)
from ndx_simulation_output.nwb.metadata import run_metadata
from ndx_simulation_output.recording import (
    ArrayGroup,
    LazyArray,
    Run,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.arrays import read_all
from ndx_simulation_output.recording.views import Part
from ndx_simulation_output.storage.layout import Layout, StorageOptions

try:
    from neuroconv import BaseDataInterface
    from neuroconv.utils import DeepDict
    from pydantic import DirectoryPath, FilePath
except ImportError as error:
    msg = "the NeuroConv interfaces need neuroconv: pip install 'ndx-simulation-output[neuroconv]'"
    raise MissingDependencyError(msg) from error

__all__ = ["AnnarchyInterface", "NeuronvisioInterface", "PymodaqInterface", "SonataInterface"]

_STUB_STEPS = 100
"""Number of time steps that ``stub_test`` adds, as in the interfaces of NeuroConv."""

_TYPES = {str: "string", int: "integer", float: "number"}


def _planned(array: LazyArray, layout: Layout) -> Any:
    """Return the data of a series, to be written in the planned chunks."""
    if layout.chunks is None or 0 in array.shape:
        return read_all(array)
    buffer = tuple(map(min, layout.piece, array.shape))
    return ArrayBlocks(array, chunk_shape=layout.chunks, buffer_shape=buffer)


class _Interface(BaseDataInterface):  # type: ignore[misc]
    """Base class of the interfaces: the metadata and contents of an open output."""

    keywords: tuple[str, ...] = ("simulation",)

    def __init__(
        self, output: SimulationOutput, source: Mapping[str, Any], *, verbose: bool
    ) -> None:
        super().__init__(verbose=verbose, **source)
        self._output = output

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on what was left out or corrected."""
        return self._output.notes

    def close(self) -> None:
        """Close the source, after the files that it was added to are written."""
        self._output.close()

    def create_nwbfile(
        self, metadata: dict[str, Any] | None = None, **conversion_options: Any
    ) -> NWBFile:
        """Return a file in memory with the recordings; its units are the simulated ones."""
        if "Ecephys" not in (metadata or {}) and conversion_options.get("write_as") is None:
            conversion_options["write_as"] = "units"
        return super().create_nwbfile(metadata, **conversion_options)

    def get_metadata(self) -> DeepDict:
        """Return the metadata of the source: session, subject and run.

        Few sources have a ``session_start_time``; set it if it is missing.
        """
        metadata = super().get_metadata()
        metadata["NWBFile"]["session_description"] = describe_session(self._output)
        metadata.deep_update(
            {name: dict(section) for name, section in self._output.session.items()}
        )
        if run := run_metadata(self._output.run):
            metadata["SimulationMetaData"] = run
        return metadata

    def get_metadata_schema(self) -> dict[str, Any]:
        """Return the schema of NeuroConv with a section ``SimulationMetaData``."""
        schema: dict[str, Any] = super().get_metadata_schema()
        kinds = {field.name: _type_of(field.type) for field in fields(Run)}
        schema["properties"]["SimulationMetaData"] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {"type": kind} for name, kind in kinds.items()},
        }
        return schema

    def get_conversion_options_schema(self) -> dict[str, Any]:
        """Return the schema of the options without definitions, which converters drop."""
        schema: dict[str, Any] = super().get_conversion_options_schema()
        schema["properties"]["storage"] = schema.pop("$defs")["StorageOptions"]
        return schema

    def add_to_nwbfile(
        self,
        nwbfile: NWBFile,
        metadata: dict[str, Any] | None = None,
        *,
        storage: StorageOptions | None = None,
        stub_test: bool = False,
        write_as: Literal["units", "processing"] | None = None,
    ) -> None:
        """Add the recordings to a file in memory; values are read when the file is written.

        Parameters
        ----------
        nwbfile
            The file in memory.
        metadata
            Metadata as ``get_metadata`` returns them.
        storage
            ``access``, ``chunks`` and ``memory`` of ``StorageOptions``, or a dict of these, from
            which chunks are planned. Compression belongs to NeuroConv's backend configuration.
        stub_test
            If True, add only the first 100 time steps, the spikes during these, and the first 100
            elements of arrays. States of networks are complete.
        write_as
            Where spikes and electrodes are written: ``"units"`` for the tables of units and
            electrodes of the file, ``"processing"`` for the tables ``simulated_units`` and
            ``simulated_electrodes`` of the processing module ``ecephys``. By default the latter,
            because the interface of a recording may follow; the former if the interface makes the
            file alone and its metadata do not describe a recording (``Ecephys``).

        Raises
        ------
        NameClashError
            If the file has an object of the same name.
        MetadataError
            If the metadata do not fit NWB.
        LayoutError
            If another storage option is set, or a value is not valid.
        ExportError
            If arrays contain values that NWB cannot store.

        """
        if write_as not in {None, "units", "processing"}:
            msg = f"write_as is {write_as!r}; expected 'units' or 'processing'"
            raise MetadataError(msg)
        if write_as is None:
            write_as = "units" if has_simulated_tables(nwbfile) else "processing"
        output = _first_steps(self._output) if stub_test else self._output
        layouts = plan_output(output, _storage_options(storage))
        run = (metadata or {}).get("SimulationMetaData", {})
        add_output(
            nwbfile,
            output,
            run,
            layouts,
            _planned,
            wrap_labeled_array=array_blocks,
            in_processing=write_as == "processing",
        )


def _first_steps(output: SimulationOutput) -> SimulationOutput:
    """Return the first time steps of series, the spikes during these, and the starts of arrays."""
    reports, potentials = map(_first_rows, (output.reports, output.potentials))
    stops = [series.times.seconds()[-1:] for series in (*reports, *potentials)]
    stop = max((float(last[0]) for last in stops if len(last)), default=None)
    note = f"only the first {_STUB_STEPS} time steps are contained (stub_test)"
    return replace(
        output,
        reports=reports,
        potentials=potentials,
        spikes=tuple(_first_spikes(spikes, stop) for spikes in output.spikes),
        arrays=tuple(map(_first_elements, output.arrays)),
        notes=(*output.notes, note),
    )


def _first_rows(series: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        replace(
            part,
            data=Part(part.data, 0, _STUB_STEPS),
            times=part.times.part(slice(0, _STUB_STEPS)),
        )
        for part in series
    )


def _first_spikes(spikes: Spikes, stop: float | None) -> Spikes:
    """Return the spikes until ``stop`` (s), by default the first ones; other cells are silent."""
    if stop is None:
        stop = float(np.sort(spikes.times)[:_STUB_STEPS].max(initial=-np.inf))
    kept = spikes.times <= stop
    intervals = spikes.intervals
    if intervals is not None:
        intervals = np.minimum(intervals[intervals[:, 0] <= stop], stop)
    known = np.union1d(spikes.node_ids, [] if spikes.silent is None else spikes.silent)
    return replace(
        spikes,
        node_ids=spikes.node_ids[kept],
        times=spikes.times[kept],
        columns={name: values[kept] for name, values in spikes.columns.items()},
        silent=np.setdiff1d(known, spikes.node_ids[kept]).astype(spikes.node_ids.dtype),
        intervals=intervals,
    )


def _first_elements(group: ArrayGroup) -> ArrayGroup:
    arrays = [
        replace(array, values=Part(array.values, 0, _STUB_STEPS)) if array.values.shape else array
        for array in group.arrays
    ]
    axes = [
        replace(axis, values=Part(axis.values, 0, _STUB_STEPS)) if axis.index == 0 else axis
        for axis in group.axes
    ]
    groups = tuple(map(_first_elements, group.groups))
    return replace(group, arrays=tuple(arrays), axes=tuple(axes), groups=groups)


def _storage_options(storage: StorageOptions | Mapping[str, Any] | None) -> StorageOptions:
    """Return the options, or raise LayoutError for options that NeuroConv sets itself."""
    options = StorageOptions(**storage) if isinstance(storage, Mapping) else storage
    options = options or StorageOptions()
    if options.compression != "auto" or options.link or options.quantize:
        msg = (
            "NeuroConv sets compression, and data are neither linked nor quantized: leave out "
            "compression, link and quantize"
        )
        raise LayoutError(msg)
    return options


class SonataInterface(_Interface):
    """Reports, spikes and extracellular potentials of SONATA, from files or from a directory.

    Parameters
    ----------
    file_paths
        Files of reports, spikes and potentials, or a ``simulation_config.json``.
    folder_path
        Directory of such files.
    unit
        Unit of reports and potentials by name, such as ``{"v_report": "mV"}``.
    time_unit
        Unit of their times by name, and of ``spikes``; by default ms.
    compartments
        ``{"report": "all"}`` for reports of every segment, whose positions are computed.
    population
        Population of spikes whose file does not name one.
    dt
        Time step in ms of data without times.
    nodes
        Whether to read the circuit, as in ``open_output``.
    properties
        Names of the properties of cells that are added; by default all.
    circuit
        Whether to add all cells of the circuit, as in ``convert``.
    edges
        Whether to add the connections of the circuit.
    verbose
        Print messages of NeuroConv.

    Raises
    ------
    SourceError
        If both or neither of the paths are set, or the source cannot be read.
    ShapeMismatchError
        If a mapping does not fit its data.
    UnitError
        If a unit cannot be parsed, or a name does not occur.

    """

    display_name = "SONATA simulation"
    keywords = ("simulation", "SONATA", "bmtk", "libsonata")
    associated_suffixes = (".h5", ".json")
    info = "Reports, spikes and extracellular potentials of simulated cells"

    def __init__(
        self,
        file_paths: list[FilePath] | None = None,
        folder_path: DirectoryPath | None = None,
        *,
        unit: dict[str, str] | None = None,
        time_unit: dict[str, str] | None = None,
        compartments: dict[str, str] | None = None,
        population: str | None = None,
        dt: float | None = None,
        nodes: bool | None = None,
        properties: list[str] | None = None,
        circuit: bool | None = None,
        edges: bool | None = None,
        verbose: bool = False,
    ) -> None:
        """Open the output of a run."""
        if (file_paths is None) == (folder_path is None):
            msg = "expected either file_paths or folder_path"
            raise SourceError(msg)
        paths = [folder_path] if folder_path is not None else file_paths
        output = sonata.read(
            [Path(path) for path in paths or []],
            unit=unit,
            time_unit=time_unit,
            compartments=compartments,
            population=population,
            dt=dt,
            nodes=nodes,
            properties=properties,
        )
        output = with_circuit(output, circuit=circuit, edges=edges)
        source = {"file_paths": file_paths, "folder_path": folder_path}
        super().__init__(output, source, verbose=verbose)


class NeuronvisioInterface(_Interface):
    """A ``storage.h5`` of Neuronvisio.

    Parameters
    ----------
    file_path
        The ``storage.h5``.
    unit
        Unit of variables by name, such as ``{"cai": "mM"}``.
    time_unit
        Unit of the independent variable of groups by name.
    verbose
        Print messages of NeuroConv.

    Raises
    ------
    SourceError
        If the file is not one of Neuronvisio, or cannot be read.
    UnitError
        If a unit cannot be parsed, or a name does not occur.

    """

    display_name = "Neuronvisio storage"
    keywords = ("simulation", "NEURON", "Neuronvisio")
    associated_suffixes = (".h5", ".hdf")
    info = "Vectors that Neuronvisio recorded from a NEURON model, and its geometry"

    def __init__(
        self,
        file_path: FilePath,
        *,
        unit: dict[str, str] | None = None,
        time_unit: dict[str, str] | None = None,
        verbose: bool = False,
    ) -> None:
        """Open a storage."""
        output = read_as("Neuronvisio", Path(file_path), unit=unit, time_unit=time_unit)
        super().__init__(output, {"file_path": file_path}, verbose=verbose)


class PymodaqInterface(_Interface):
    """A file of PyMoDAQ.

    Parameters
    ----------
    file_path
        The file of DAQ_Viewer, DAQ_Scan or DAQ_Logger.
    verbose
        Print messages of NeuroConv.

    Raises
    ------
    SourceError
        If the file is not one of PyMoDAQ, or cannot be read.

    """

    display_name = "PyMoDAQ file"
    keywords = ("PyMoDAQ", "instruments")
    associated_suffixes = (".h5",)
    info = "Data with axes that PyMoDAQ recorded from instruments"

    def __init__(self, file_path: FilePath, *, verbose: bool = False) -> None:
        """Open a file."""
        output = read_as("PyMoDAQ", Path(file_path))
        super().__init__(output, {"file_path": file_path}, verbose=verbose)


class AnnarchyInterface(_Interface):
    """A file that ANNarchy saved.

    Parameters
    ----------
    file_path
        The file that ``save`` or ``save_connectivity`` wrote.
    dt
        Time step of the network in ms, which most files do not contain.
    verbose
        Print messages of NeuroConv.

    Raises
    ------
    SourceError
        If the file is not one of ANNarchy, or needs ``dt``.

    """

    display_name = "ANNarchy file"
    keywords = ("simulation", "ANNarchy")
    associated_suffixes = (".npz", ".mat", ".data", ".txt", ".gz")
    info = "The state of a network, a population, a projection or its connectivity"

    def __init__(
        self, file_path: FilePath, *, dt: float | None = None, verbose: bool = False
    ) -> None:
        """Open a file."""
        output = read_as("ANNarchy", Path(file_path), dt=dt)
        super().__init__(output, {"file_path": file_path}, verbose=verbose)


def _type_of(kind: Any) -> str:
    return next(_TYPES[member] for member in get_args(kind) if member in _TYPES)
