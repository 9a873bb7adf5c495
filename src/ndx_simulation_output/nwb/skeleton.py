"""The NWB file of a stream without its data."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output.engine.datasets import create_dataset, replace_dataset
from ndx_simulation_output.engine.stamps import create_stamps
from ndx_simulation_output.engine.streamed import Streamed
from ndx_simulation_output.files import WholeFile
from ndx_simulation_output.nwb.mapping import map_output
from ndx_simulation_output.nwb.units import make_units
from ndx_simulation_output.recording import Run, SimulationOutput, Spikes

__all__ = ["Skeleton", "add_units"]


class Skeleton:
    """What a stream writes before its data come: ``datasets`` and ``stamps`` are of its reports.

    ``stamps`` are None for reports that are sampled regularly.
    """

    def __init__(
        self,
        file: WholeFile,
        plan: Streamed,
        run: Run,
        sections: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.file, self.path = file, Path(file.path)
        output = SimulationOutput(reports=tuple(report.empty for report in plan.reports), run=run)
        mapped = map_output(output, sections)
        self._nwbfile = mapped.nwbfile
        # It is not closed here: that is for the file, which may be full.
        self._io = NWBHDF5IO(mode="w", file=file)
        self._io.write(self._nwbfile)
        self.datasets = [
            replace_dataset(
                fill.series.fields["data"].dataset,
                partial(create_dataset, layout=layout, dtype=fill.source.dtype),
            )
            for fill, layout in zip(mapped.fills, plan.layouts, strict=True)
        ]
        self.stamps = [
            replace_dataset(dataset.parent["timestamps"], create_stamps)
            if report.rate is None
            else None
            for dataset, report in zip(self.datasets, plan.reports, strict=True)
        ]

    def add_units(self, spikes: Sequence[Spikes]) -> None:
        """Add spikes to the file."""
        add_units(self._io, self._nwbfile, spikes)


def add_units(io: NWBHDF5IO, nwbfile: NWBFile, spikes: Sequence[Spikes]) -> None:
    """Add spikes, of each population together, to a file that has none."""
    metadata = nwbfile.lab_meta_data["simulation"]
    nwbfile.units, _ = make_units(spikes, metadata.time_step)
    io.write(nwbfile)
