"""Files of other simulators are recognised, and a refusal names the program that wrote them."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SourceError, UnsupportedSourceError
from ndx_simulation_output.formats import recognize
from tests.conftest import DATA

_SIGNS = {"netpyne_version": "1.1.1", "simConfig": {}, "simData": {}}
_NETPYNE = pickle.dumps(_SIGNS)
_NEO = pickle.dumps(["neo.core.block", "analogsignals"])
_BRIAN = pickle.dumps({"default": {"defaultclock": {"timestep": 0}}})


def _nix(path: Path, **attributes: Any) -> None:
    with h5py.File(path, "w") as root:
        root.attrs.update(attributes)


@pytest.mark.parametrize(
    ("name", "content", "format_"),
    [
        ("run_data.json", json.dumps(_SIGNS).encode(), "NetPyNE"),
        ("run.json", b"\xef\xbb\xbf" + json.dumps(_SIGNS, indent=4).encode(), "NetPyNE"),
        ("run.pkl", _NETPYNE, "pickles of NetPyNE"),
        ("run.dpk", gzip.compress(_NETPYNE), "pickles of NetPyNE"),
        ("run.mat", b"MATLAB 5.0 MAT-file netpyne_version", "pickles of NetPyNE"),
        ("run-8-0.dat", b"# NEST version: 3.10.0\n", "NEST"),
        ("spikes-3-0.gdf", b"5\t10.2\n", "NEST"),
        ("results.dat", b"0.0\t-0.065\t-0.07\n", "columns of numbers"),
        ("checkpoint", _BRIAN, "Brian2"),
        ("exc.pkl", _NEO, "pickles of Neo"),
        ("parameters.pkl", pickle.dumps({"v": 1.0}), "ANNarchy"),
    ],
)
def test_a_file_is_recognised_by_what_is_in_it(
    tmp_path: Path, name: str, content: bytes, format_: str
) -> None:
    """The extension does not matter, except for NEST 2, whose text has no header."""
    (tmp_path / name).write_bytes(content)

    found = recognize(tmp_path / name)

    assert found is not None
    assert found.name == format_


@pytest.mark.parametrize(
    ("name", "attributes", "format_"),
    [
        ("run.nix", {"format": "nix"}, "NIX"),
        ("run.h5", {"format": b"nix"}, "NIX"),
        ("run.h5", {"nsdf_version": b"1.0"}, "NSDF"),
    ],
)
def test_an_hdf5_file_is_recognised_by_its_attributes(
    tmp_path: Path, name: str, attributes: dict[str, Any], format_: str
) -> None:
    """Text may be stored as bytes."""
    _nix(tmp_path / name, **attributes)

    found = recognize(tmp_path / name)

    assert found is not None
    assert found.name == format_


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.pkl", _NETPYNE, r"run\.pkl is a pickle .* of NetPyNE.*saveJson = True"),
        ("run.dpk", gzip.compress(_NETPYNE), r"run\.dpk is a pickle .* of NetPyNE"),
        ("store", _BRIAN, r"store is a pickle that store of Brian2 wrote"),
        ("exc.pkl", _NEO, r"exc\.pkl is a pickle of blocks of Neo.*write_data\(\"run\.nix\"\)"),
        ("v.dat", b"0.0\t-0.065\n", r"v\.dat has columns of numbers.*numpy\.loadtxt"),
    ],
)
def test_what_is_not_read_is_refused_with_what_to_do(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """No pickle is loaded."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UnsupportedSourceError, match=message):
        open_output(tmp_path / name)


def test_files_of_two_formats_are_no_run(tmp_path: Path) -> None:
    """The error names both files."""
    (tmp_path / "a.pkl").write_bytes(_NETPYNE)
    (tmp_path / "b.dat").write_bytes(b"# NEST version: 3.10.0\n")

    with pytest.raises(
        UnsupportedSourceError, match=r"a\.pkl is .*, but .*b\.dat is a file of NEST"
    ):
        open_output([tmp_path / "a.pkl", tmp_path / "b.dat"])


def test_ids_of_populations_do_not_apply_to_sonata(tmp_path: Path) -> None:
    """SONATA's population is a name."""
    (tmp_path / "spikes.csv").write_text("timestamps population node_ids\n1.0 exc 3\n")

    with pytest.raises(SourceError, match=r"population .* is a mapping; expected a name"):
        open_output(tmp_path / "spikes.csv", population={"exc": "1-80"})


@pytest.mark.parametrize(
    ("file", "format_"),
    [
        ("netpyne/all_lfp_data.json", "NetPyNE"),
        ("netpyne/two_ranks/lab_node_data/lab_node_1.json", "NetPyNE"),
        ("netpyne/refuse_me_interval_20.pkl", "pickles of NetPyNE"),
        ("netpyne/two_ranks/refuse_me_node_0.pkl", "pickles of NetPyNE"),
        ("netpyne/broken_no_simData.mat", "pickles of NetPyNE"),
        ("netpyne/dat/V_soma_cell_0.dat", "columns of numbers"),
        ("neo/nest_exc.nix", "NIX"),
        ("nsdf/nsdf_vlen.h5", "NSDF"),
        ("nsdf/moose/nsdf1.h5", "NSDF"),
        ("other/nest_ascii/run_exc_sr-9-0.dat", "NEST"),
    ],
)
def test_genuine_files_are_recognised(file: str, format_: str) -> None:
    """Each was written by the program itself."""
    path = DATA / "other" / file
    if not path.is_file():
        pytest.skip(f"the genuine files are not at {DATA}; set NDX_TEST_DATA to their directory")
    found = recognize(path)

    assert found is not None
    assert found.name == format_
