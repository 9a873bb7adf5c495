"""Interfaces of neuroconv, for each source that ``convert`` reads.

They go into an ``NWBConverter`` beside those of other data. Values are read a block at a time while
neuroconv writes them, in chunks as :doc:`/explanation/engine` plans them.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from hdmf.data_utils import GenericDataChunkIterator
from numpy.typing import NDArray
from pynwb import NWBFile

from ndx_simulation_output import sonata
from ndx_simulation_output.errors import MissingDependencyError, SourceError
from ndx_simulation_output.formats import read_as
from ndx_simulation_output.nwb.arrays import add_exports
from ndx_simulation_output.nwb.mapping import add_output, describe_session, plan_output
from ndx_simulation_output.recording import LazyArray, Run, SimulationOutput
from ndx_simulation_output.recording.arrays import read_all, size_in_bytes
from ndx_simulation_output.storage.layout import Layout, Storage

try:
    from neuroconv import BaseDataInterface
    from neuroconv.utils import DeepDict
    from pydantic import DirectoryPath, FilePath
except ImportError as error:
    msg = "its interfaces need neuroconv: pip install 'ndx-simulation-output[neuroconv]'"
    raise MissingDependencyError(msg) from error

__all__ = ["AnnarchyInterface", "NeuronvisioInterface", "PymodaqInterface", "SonataInterface"]

_SMALL = 2**20
"""Arrays of so many bytes are read at once."""
_BUFFER_GB = 0.064
_TYPES = {str: "string", int: "integer", float: "number"}


class _Values(GenericDataChunkIterator):  # type: ignore[misc]
    """Gives the values of an array block by block, when they are written."""

    def __init__(self, array: LazyArray, **shapes: Any) -> None:
        self._array = array
        super().__init__(**shapes)

    def _get_data(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        return np.asarray(self._array[selection])

    def _get_maxshape(self) -> tuple[int, ...]:
        return tuple(self._array.shape)

    def _get_dtype(self) -> np.dtype[Any]:
        return self._array.dtype.newbyteorder("=")


def _planned(array: LazyArray, layout: Layout) -> Any:
    """Give the values of a matrix in the chunks that are planned."""
    if layout.chunks is None or 0 in array.shape:
        return read_all(array)
    buffer = tuple(map(min, layout.piece, array.shape))
    return _Values(array, chunk_shape=layout.chunks, buffer_shape=buffer)


def _placed(array: LazyArray) -> Any:
    """Give the values of an array of any shape: a small one itself."""
    if size_in_bytes(array) < _SMALL:
        return read_all(array)
    return _Values(array, buffer_gb=_BUFFER_GB)


class _Interface(BaseDataInterface):  # type: ignore[misc]
    """What all interfaces do with what they have read."""

    keywords: tuple[str, ...] = ("simulation",)

    def __init__(
        self, output: SimulationOutput, source: Mapping[str, Any], *, verbose: bool
    ) -> None:
        super().__init__(verbose=verbose, **source)
        self._output = output

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the source was left out or put right, in plain words."""
        return self._output.notes

    def close(self) -> None:
        """Close the source, once all that was added to files is written."""
        self._output.close()

    def get_metadata(self) -> DeepDict:
        """Give what the source says of session, subject and run.

        Few sources say when their session began: then ``session_start_time`` is for you to give.
        """
        metadata = super().get_metadata()
        metadata["NWBFile"]["session_description"] = describe_session(self._output)
        metadata.deep_update(
            {name: dict(section) for name, section in self._output.session.items()}
        )
        run = {key: value for key, value in asdict(self._output.run).items() if value is not None}
        if run:
            metadata["SimulationMetaData"] = run
        return metadata

    def get_metadata_schema(self) -> dict[str, Any]:
        """Give the schema of neuroconv with that of the section ``SimulationMetaData``."""
        schema: dict[str, Any] = super().get_metadata_schema()
        kinds = {field.name: _type_of(field.type) for field in fields(Run)}
        schema["properties"]["SimulationMetaData"] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {"type": kind} for name, kind in kinds.items()},
        }
        return schema

    def add_to_nwbfile(
        self,
        nwbfile: NWBFile,
        metadata: dict[str, Any] | None = None,
        *,
        access: Literal["balanced", "cells", "frames"] = "balanced",
    ) -> None:
        """Add all that was recorded; values are read when the file is written.

        Parameters
        ----------
        nwbfile
            The file in memory.
        metadata
            Such as ``get_metadata`` gives.
        access
            What is read most: ``cells`` (all times of one), ``frames`` (all cells at one time), or
            ``balanced``. Chunks are planned for it.

        Raises
        ------
        NameClashError
            If the file has something of the same name, or units or electrodes beside which there
            is no place for others.
        MetadataError
            If the metadata do not fit NWB.
        ExportError
            If arrays hold what NWB cannot.

        """
        layouts = plan_output(self._output, Storage(access))
        run = (metadata or {}).get("SimulationMetaData", {})
        add_output(nwbfile, self._output, run, layouts, _planned)
        add_exports(nwbfile, self._output.exports, _placed)


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
        ``{"report": "all"}`` for reports of every segment: their positions are computed.
    population
        Name of the population of spikes that have none.
    dt
        Time step in ms of data that have no time.
    verbose
        Whether neuroconv prints what it does.

    Raises
    ------
    SourceError
        If both or neither are given, or the source cannot be read.
    ShapeMismatchError
        If a mapping does not fit its data.
    UnitError
        If a unit is not understood, or given for a name that does not occur.

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
        )
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
        Whether neuroconv prints what it does.

    Raises
    ------
    SourceError
        If the file is none of Neuronvisio, or cannot be read.
    UnitError
        If a unit is not understood, or given for a name that does not occur.

    """

    display_name = "Neuronvisio storage"
    keywords = ("simulation", "NEURON", "Neuronvisio")
    associated_suffixes = (".h5", ".hdf")
    info = "Vectors that Neuronvisio recorded of a model of NEURON, and its geometry"

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
        Whether neuroconv prints what it does.

    Raises
    ------
    SourceError
        If the file is none of PyMoDAQ, or cannot be read.

    """

    display_name = "PyMoDAQ file"
    keywords = ("PyMoDAQ", "instruments")
    associated_suffixes = (".h5",)
    info = "Data with axes that PyMoDAQ recorded of instruments"

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
        Time step of the network in ms, which most files do not say.
    verbose
        Whether neuroconv prints what it does.

    Raises
    ------
    SourceError
        If the file is none of ANNarchy, or cannot be read without what only ``dt`` says.

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
    return next(_TYPES[one] for one in get_args(kind) if one in _TYPES)
