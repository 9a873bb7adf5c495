"""States go from NWB files to ANNarchy's own, which say the same as those that they came from."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ndx_simulation_output import convert
from ndx_simulation_output.annarchy.reading import read
from ndx_simulation_output.api import export_annarchy
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import ExportError, TargetExistsError
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.recording import NetworkSnapshot, SimulationOutput
from tests.annarchy.test_writing import network
from tests.conftest import DATA
from tests.network_strategies import facts_of
from tests.sonata.making import SESSION


def parts_of(path: Path):
    """Give what a file of ANNarchy says, but for its own name and container."""
    (found,) = read(path, dt=0.5).networks
    return facts_of([*found.parts, found.step, found.time, found.provenance.get("net_id")])


@pytest.fixture
def state(tmp_path) -> Path:
    return written(tmp_path / "state.nwb", network())


def written(path: Path, *networks: NetworkSnapshot) -> Path:
    writer.write(SimulationOutput(networks=networks), path, metadata=read_metadata(SESSION))
    return path


@pytest.mark.parametrize("version", ["4.6.5", "4.8.2.7", "5.0.3"])
@pytest.mark.parametrize("extension", ["txt", "txt.gz", "npz"])
def test_a_genuine_network_is_the_same_after_it_was_in_nwb(tmp_path, version, extension):
    data = DATA / "annarchy" / f"annarchy-{version}"
    if not data.is_dir():
        pytest.skip(f"the genuine files are not at {data}; set NDX_TEST_DATA to their directory")
    source = data / f"network.{extension}"
    convert(source, tmp_path / "state.nwb", metadata=SESSION, dt=0.5)

    exported = export_annarchy(tmp_path / "state.nwb", tmp_path / f"again.{extension}")

    assert parts_of(exported.path) == parts_of(source)
    assert "left out: time step, which ANNarchy's files cannot contain" in exported.notes


def test_one_projection_is_exported_as_itself_or_as_its_connections(state, tmp_path):
    whole = export_annarchy(state, tmp_path / "rec.npz", part="rec")
    connections = export_annarchy(state, tmp_path / "rec.txt", connectivity=True)

    (found,) = read(whole.path, dt=0.5).networks[0].projections
    assert [quantity.name for quantity in found.quantities] == ["w", "theta"]
    (found,) = read(connections.path, dt=0.5).networks[0].projections
    assert [quantity.name for quantity in found.quantities] == ["w"]
    assert found.delay_steps.tolist() == [1, 3, 1]
    assert "projection rec: only the weight and delays are written" in connections.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "gone"}, r"has 'exc', 'rec'; expected one population or projection named 'gone'"),
        ({"part": "exc", "connectivity": True}, "has 'rec'; expected one projection named 'exc'"),
        ({"state": "gone"}, "has 'state'; expected one state named 'gone'"),
    ],
)
def test_what_is_not_there_is_not_exported(state, tmp_path, options, message):
    with pytest.raises(ExportError, match=message):
        export_annarchy(state, tmp_path / "out.txt", **options)

    assert not (tmp_path / "out.txt").exists()


def test_one_of_several_states_is_named(tmp_path):
    path = written(tmp_path / "two.nwb", network(), replace(network(), name="later", step=400))

    with pytest.raises(ExportError, match=re.escape("expected one state to export (--state)")):
        export_annarchy(path, tmp_path / "out.txt")
    export_annarchy(path, tmp_path / "out.txt", state="later")

    assert read(tmp_path / "out.txt", dt=0.5).networks[0].step == 400


def test_an_existing_file_is_replaced_only_when_told(state, tmp_path):
    (tmp_path / "out.txt").write_text("mine")

    with pytest.raises(TargetExistsError, match="exists already"):
        export_annarchy(state, tmp_path / "out.txt")

    assert (tmp_path / "out.txt").read_text() == "mine"


def test_the_command_exports_to_the_container_that_the_target_names(state, tmp_path):
    target = tmp_path / "network.npz"

    done = CliRunner().invoke(main, ["export", str(state), str(target)])

    assert done.exit_code == 0, done.output
    assert "note: left out: time step, which ANNarchy's files cannot contain" in done.output
    assert f"wrote {target}\n" in done.output
    assert read(target, dt=0.5).networks[0].step == 200


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sonata", "--part", "exc"], "--part applies to ANNarchy files, not to sonata"),
        (["sonata", "--delay-unit", "steps"], "--delay-unit applies to ANNarchy files"),
        (["out.npz", "--dialect", "bbp"], "--dialect applies to SONATA files, not to out.npz"),
    ],
)
def test_options_of_the_other_format_are_wrong_usage(state, words, message):
    done = CliRunner().invoke(main, ["export", str(state), *words])

    assert done.exit_code == 2
    assert message in done.output
