"""Files that have the attribute ``nwb_version``."""

from pathlib import Path

import h5py
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb.checks import check_file

TYPE = {"neurodata_type": "NWBFile", "namespace": "core"}


@pytest.mark.parametrize("opened", [open_output, check_file])
@pytest.mark.parametrize(
    "attributes", [{}, {"namespace": "core"}, TYPE], ids=["none", "half", "empty"]
)
def test_a_file_with_nothing_but_nwb_version_is_an_error(tmp_path: Path, opened, attributes):
    with h5py.File(tmp_path / "v.nwb", "w") as file:
        file.attrs.update({"nwb_version": "2.9.0", **attributes})

    with pytest.raises(SourceError, match=r"v\.nwb has the attribute nwb_version, but"):
        opened(tmp_path / "v.nwb")
