"""Sources are files, a directory, or a configuration of either dialect."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import SimulationOutputWarning, convert, export_sonata, open_output
from ndx_simulation_output.errors import SourceError, UnsupportedSourceError
from ndx_simulation_output.recording import SimulationOutput, Unit
from tests.sonata.making import SESSION, File, ecp, report, spikes


def _configured(directory: Path, **config: Any) -> Path:
    path = directory / "simulation_config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the directory of a run; ``output`` has a report and spikes."""
    output = tmp_path / "run" / "output"
    output.mkdir(parents=True)
    report().write(output / "soma.h5")
    spikes().write(output / "out.h5")
    return output.parent


def _names(output: SimulationOutput) -> tuple[list[str], list[str]]:
    return [found.name for found in output.reports], [part.population for part in output.spikes]


def test_several_files_go_into_one(run: Path) -> None:
    with open_output([run / "output" / "soma.h5", run / "output" / "out.h5"]) as output:
        assert _names(output) == (["soma"], ["pop"])


def test_a_directory_gives_all_its_recordings(run: Path) -> None:
    with open_output(run / "output") as output:
        assert _names(output) == (["soma"], ["pop"])


def test_what_is_no_output_in_a_directory_is_noted(run: Path) -> None:
    File(groups=["nodes/pop"]).write(run / "output" / "nodes.h5")
    (run / "output" / "log.txt").write_text("started\n")
    (run / "output" / "picture.png").write_bytes(b"png")

    with open_output(run / "output") as output:
        notes = output.notes

    assert len(notes) == 2
    assert any("nodes.h5 contains a network" in note for note in notes)
    assert any("log.txt is neither" in note for note in notes)


def test_contributions_of_single_cells_are_noted_in_a_directory(run: Path) -> None:
    File({"ecp/data": np.zeros((5, 2))}).write(run / "output" / "tmp_0_ecp.h5")

    with open_output(run / "output") as output:
        assert _names(output) == (["soma"], ["pop"])
        assert any("the contribution of one cell" in note for note in output.notes)


def test_text_without_spikes_beside_a_run_that_had_none_is_noted(run: Path) -> None:
    File(groups=["spikes"]).write(run / "output" / "out.h5")
    (run / "output" / "spikes.csv").write_text("timestamps population node_ids\n")

    with open_output(run / "output") as output:
        assert _names(output) == (["soma"], [])
        assert any("spikes.csv lists no spikes" in note for note in output.notes)


def test_what_is_no_output_is_refused_when_it_is_named(run: Path) -> None:
    network = File(groups=["nodes/pop"]).write(run / "output" / "nodes.h5")

    with pytest.raises(UnsupportedSourceError, match=r"nodes\.h5 contains a network"):
        open_output([run / "output" / "soma.h5", network])


def test_a_file_named_twice_is_read_once(run: Path) -> None:
    with open_output([run / "output" / "soma.h5", run / "output"]) as output:
        assert _names(output) == (["soma"], ["pop"])


def test_a_file_named_in_two_ways_is_read_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)

    with open_output(["output/soma.h5", run / "output" / "soma.h5", "output/../output"]) as output:
        assert _names(output) == (["soma"], ["pop"])


def test_a_configuration_of_blue_brain_names_its_files(run: Path) -> None:
    config = _configured(
        run,
        run={"tstart": 0.0, "tstop": 40.0, "dt": 0.025, "random_seed": 7},
        conditions={"celsius": 34.0},
        target_simulator="NEURON",
        reports={
            "soma": {"type": "compartment", "variable_name": "v", "unit": "mV", "sections": "soma"}
        },
    )

    with open_output(config) as output:
        found, spiking = _names(output)
        (soma,) = output.reports
        facts = output.run

    assert (found, spiking) == (["soma"], ["pop"])
    assert soma.variable == "v"
    assert (facts.simulator, facts.seed, facts.temperature) == ("NEURON", 7, 34.0)
    assert facts.time_step == 0.025 / 1000
    assert facts.duration == 0.04


def test_a_configuration_of_allen_names_its_files(run: Path) -> None:
    report(dialect="allen", unit=None).write(run / "output" / "v_report.h5")
    config = _configured(
        run,
        manifest={"$BASE": "${configdir}", "$OUTPUT": "$BASE/output"},
        run={"tstop": 3000.0, "dt": 0.1},
        output={"output_dir": "$OUTPUT", "spikes_file": "out.h5", "log_file": "log.txt"},
        reports={
            "membrane": {
                "module": "membrane_report",
                "variable_name": "v",
                "file_name": "v_report",
                "cells": "all",
            }
        },
    )

    with pytest.warns(SimulationOutputWarning, match="--unit membrane=UNIT"):
        output = open_output(config)
    with output:
        assert _names(output) == (["membrane"], ["pop"])


def test_the_unit_of_the_configuration_wins_over_that_of_the_file(run: Path) -> None:
    report(unit="mV").write(run / "output" / "current.h5")
    config = _configured(
        run,
        reports={"current": {"type": "compartment", "variable_name": "i_membrane", "unit": "nA"}},
    )

    with open_output(config) as output:
        assert output["current"].unit == Unit("amperes", 1e-9)


def test_the_unit_of_the_caller_wins_over_that_of_the_configuration(run: Path) -> None:
    config = _configured(run, reports={"soma": {"type": "compartment", "unit": "nA"}})

    with open_output(config, unit={"soma": "mV"}) as output:
        assert output["soma"].unit == Unit("volts", 1e-3)


@pytest.mark.parametrize(
    ("entry", "computed"),
    [
        ({"sections": "all"}, True),
        ({"sections": "apic", "compartments": "all"}, True),
        ({"sections": "dend", "compartments": "center"}, False),
        ({"sections": "soma"}, False),
        ({}, False),
    ],
)
def test_positions_are_computed_where_the_configuration_says_all_compartments(
    entry: dict[str, str], computed: bool, run: Path
) -> None:
    config = _configured(run, reports={"soma": {"type": "compartment", **entry}})

    with open_output(config) as output:
        assert ("position" in output["soma"].compartments.columns) is computed


@pytest.mark.parametrize("kind", ["compartment_set", "synapse", "lfp", "summation"])
def test_positions_of_other_kinds_are_never_computed(kind: str, run: Path) -> None:
    config = _configured(run, reports={"soma": {"type": kind, "sections": "all"}})

    with open_output(config) as output:
        assert "position" not in output["soma"].compartments.columns


def test_a_disabled_report_is_left_out_with_a_note(run: Path) -> None:
    config = _configured(run, reports={"soma": {"type": "compartment", "enabled": False}})

    with open_output(config) as output:
        assert _names(output) == ([], ["pop"])
        assert output.notes == (
            "report 'soma' is disabled in simulation_config.json and was left out",
        )


def test_a_report_whose_file_is_gone_is_noted(run: Path) -> None:
    config = _configured(run, reports={"soma": {}, "dend": {}})

    with open_output(config) as output:
        assert _names(output)[0] == ["soma"]
        assert output.notes == ("dend.h5, named by simulation_config.json, does not exist",)


def test_a_configuration_whose_files_are_all_gone_is_refused(tmp_path: Path) -> None:
    config = _configured(tmp_path, reports={"soma": {}})

    with pytest.raises(SourceError, match=r"no file with recorded activity.*soma\.h5, named by"):
        open_output(config)


def test_a_configuration_that_points_to_the_simulation_is_followed(run: Path) -> None:
    _configured(run, reports={"soma": {}})
    (run / "config.json").write_text(
        '{"simulation": "simulation_config.json", "network": "c.json"}'
    )

    with open_output(run / "config.json") as output:
        assert _names(output)[0] == ["soma"]


def test_a_configuration_may_point_to_the_simulation_with_a_variable(run: Path) -> None:
    _configured(run, reports={"soma": {}})
    (run / "config.json").write_text(
        '{"manifest": {"$B": "."}, "simulation": "$B/simulation_config.json"}'
    )

    with open_output(run / "config.json") as output:
        assert _names(output)[0] == ["soma"]


def test_a_relative_configuration_may_name_its_files_from_its_own_directory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = {"$BASE": "${configdir}", "$OUTPUT_DIR": "$BASE/output"}
    config = _configured(
        run,
        manifest=manifest,
        output={"output_dir": "$OUTPUT_DIR", "spikes_file": "$OUTPUT_DIR/out.h5"},
        reports={"soma": {"file_name": "$OUTPUT_DIR/soma.h5"}},
    )
    monkeypatch.chdir(run)

    with open_output(config.name) as output:
        assert _names(output) == (["soma"], ["pop"])


def test_spikes_may_be_named_with_their_relative_directory_as_bmtk_takes_it(run: Path) -> None:
    manifest = {"$BASE": ".", "$OUTPUT_DIR": "$BASE/output"}
    files = {"output_dir": "$OUTPUT_DIR", "spikes_file": "$OUTPUT_DIR/out.h5"}
    config = _configured(run, manifest=manifest, output=files, reports={"soma": {}})

    with open_output(config) as output:
        assert _names(output) == (["soma"], ["pop"])


def test_variables_of_the_environment_are_filled_in(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_OUTPUT", str(run / "output"))
    config = _configured(run, output={"output_dir": "${RUN_OUTPUT}"}, reports={"soma": {}})

    with open_output(config) as output:
        assert _names(output)[0] == ["soma"]


def test_a_file_name_may_be_absolute(run: Path) -> None:
    elsewhere = report().write(run / "elsewhere.h5")
    config = _configured(run, reports={"dend": {"file_name": str(elsewhere)}})

    with open_output(config) as output:
        assert _names(output)[0] == ["dend"]


def test_a_file_name_with_a_dot_and_no_extension_is_found(run: Path) -> None:
    report().write(run / "output" / "soma.v.h5")
    config = _configured(run, reports={"soma": {"file_name": "soma.v"}})

    with open_output(config) as output:
        assert _names(output)[0] == ["soma"]


def test_a_directory_with_a_configuration_follows_it(run: Path) -> None:
    _configured(run, reports={"soma": {}})

    with open_output(run) as output:
        assert _names(output) == (["soma"], ["pop"])


def test_a_configuration_beside_its_output_reads_each_file_once(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output_dir = run / "output"
    _configured(output_dir, output={"output_dir": str(output_dir)}, reports={"soma": {}})
    monkeypatch.chdir(run)

    with open_output("output") as output:
        assert _names(output) == (["soma"], ["pop"])


def test_a_report_of_several_variables_is_noted(run: Path) -> None:
    config = _configured(run, reports={"soma": {"variable_name": ["v", "cai"]}})

    with open_output(config) as output:
        assert any("names 2 variables in one file" in note for note in output.notes)


def test_the_electrodes_of_the_configuration_are_those_of_its_report(run: Path) -> None:
    ecp(np.zeros((5, 2)), time=(0.0, 0.5, 0.1)).write(run / "output" / "ecp.h5")
    (run / "probe.csv").write_text("channel x_pos y_pos z_pos\n0 1 2 3\n1 4 5 6\n")
    entry = {"module": "extracellular", "electrode_positions": "probe.csv", "file_name": "ecp.h5"}
    config = _configured(run, reports={"ecp": entry})
    convert(config, run / "o.nwb", metadata=SESSION)

    with NWBHDF5IO(run / "o.nwb", "r") as io:
        assert io.read().electrodes["x"].data[:].tolist() == [1.0, 4.0]


def test_a_configuration_may_have_comments_of_a_byte_order_mark(run: Path) -> None:
    text = json.dumps({"reports": {"soma": {}}})
    (run / "simulation_config.json").write_bytes(b"\xef\xbb\xbf" + text.encode())

    with open_output(run / "simulation_config.json") as output:
        assert _names(output)[0] == ["soma"]


def test_the_configuration_is_kept_and_comes_back(run: Path) -> None:
    config = _configured(run, run={"dt": 0.1}, reports={"soma": {}})
    convert(config, run / "o.nwb", metadata=SESSION)

    export_sonata(run / "o.nwb", run / "back")

    assert (run / "back" / "simulation_config.json").read_text() == config.read_text()
