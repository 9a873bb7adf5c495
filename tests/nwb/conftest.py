"""Write objects of the extension to a file."""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject

from ndx_simulation_output import SimulationMetaData

WriteNWB = Callable[..., Path]


@pytest.fixture
def write_nwb(tmp_path) -> WriteNWB:
    """Write acquisition objects and metadata to a file, with the metadata that archives require."""

    def write(*acquisition: Any, metadata: SimulationMetaData | None = None) -> Path:
        nwbfile = NWBFile(
            session_description="A simulated network of a few cells",
            identifier="tests",
            session_start_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
            experimenter=["Modeller, A."],
            experiment_description="A simulation",
            institution="An institute",
            keywords=["simulation"],
        )
        nwbfile.subject = Subject(
            subject_id="model", species="Mus musculus", sex="U", age="P56D", description="A model"
        )
        if metadata is not None:
            nwbfile.add_lab_meta_data(metadata)
        for item in acquisition:
            nwbfile.add_acquisition(item)
        path = tmp_path / "written.nwb"
        with NWBHDF5IO(str(path), "w") as io:
            io.write(nwbfile)
        return path

    return write
