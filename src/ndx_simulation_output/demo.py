"""The demo: simulate a network, store it in an NWB file, check, export and draw it."""

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from ndx_simulation_output import plots, sonata
from ndx_simulation_output.api import convert, export_sonata, open_output
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.errors import (
    MissingDependencyError,
    SimulationOutputError,
    TargetExistsError,
)
from ndx_simulation_output.files import check_target
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.metadata import run_metadata
from ndx_simulation_output.recording import SimulationOutput

_METADATA = {
    "NWBFile": {
        "session_description": "A small network of cable models, simulated by ndx-sim demo",
        "session_start_time": datetime(2026, 1, 1, tzinfo=timezone.utc),
        "experimenter": ["Demo, Ndx"],
        "institution": "none, this is a demonstration",
        "keywords": ["simulation", "cable model"],
    },
    "Subject": {
        "subject_id": "model",
        "description": "A model, not an animal",
        "species": "Mus musculus",
        "sex": "U",
        "age": "P0D",
    },
}


def run_demo(directory: Path, *, overwrite: bool = False) -> Iterator[str]:
    """Run the demo and yield a line of text after each step.

    It raises TargetExistsError before the first step if files of an earlier demo exist and
    ``overwrite`` is false, and SimulationOutputError if the NWB file is not valid or the exported
    data differ. Without matplotlib there is no picture.
    """
    source, back = directory / "sonata", directory / "sonata-again"
    target, picture = directory / "run.nwb", directory / "run.png"
    _check_targets(directory, (target, picture), (source, back), overwrite=overwrite)
    output = simulate()
    cells = sum(len(report.compartments) for report in output.reports if report.report == "v")
    yield f"simulated {cells} cells for {output.run.duration:g} s"
    written = sonata.write(output, source, dialect="bbp", overwrite=overwrite)
    yield f"wrote {len(written.files)} SONATA files to {source}"
    metadata = {**_METADATA, "SimulationMetaData": run_metadata(output.run)}
    convert(source, target, metadata=metadata, overwrite=overwrite)
    yield f"converted them to {target}"
    errors = [finding for finding in check_file(target) if finding.severity == "error"]
    if errors:
        msg = f"{target} is not valid: {errors[0].where}: {errors[0].message}"
        raise SimulationOutputError(msg)
    yield "checked it: no errors"
    export_sonata(target, back, overwrite=overwrite)
    with open_output(source) as before, open_output(back) as after:
        _compare(before, after)
    yield f"exported it to {back}: the same values, ids and times"
    try:
        with open_output(target) as found:
            plots.save(found, picture, overwrite=overwrite)
    except MissingDependencyError as error:
        yield f"drew no picture: {error}"
    else:
        yield f"drew {picture}"


def _check_targets(
    directory: Path, files: tuple[Path, ...], folders: tuple[Path, ...], *, overwrite: bool
) -> None:
    """Raise TargetExistsError for what is in the way of the demo."""
    for folder in (directory, *folders):
        if folder.exists() and not folder.is_dir():
            msg = f"{folder} is a file; expected the name of a directory for the demo"
            raise TargetExistsError(msg)
        if folder in folders and folder.is_dir() and any(folder.iterdir()) and not overwrite:
            msg = f"{folder} exists already; pass overwrite=True (--overwrite) to replace its files"
            raise TargetExistsError(msg)
    for file in files if directory.exists() else ():
        check_target(file, overwrite=overwrite)


def _compare(before: SimulationOutput, after: SimulationOutput) -> None:
    for report in before.reports:
        if not np.array_equal(report.get_traces(), after[report.name].get_traces()):
            msg = f"report {report.name} was exported with different values"
            raise SimulationOutputError(msg)
    for spikes, exported in zip(before.spikes, after.spikes, strict=True):
        if not np.array_equal(spikes.times, exported.times):
            msg = f"the spikes of population {spikes.population} were exported with different times"
            raise SimulationOutputError(msg)
