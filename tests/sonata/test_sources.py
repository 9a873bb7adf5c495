"""Sources are files, a directory, or a configuration of either dialect."""

import json
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import SimulationOutputWarning, convert, export_sonata, open_output
from ndx_simulation_output.errors import (
    NameClashError,
    ShapeMismatchError,
    SourceError,
    UnitError,
    UnitWarning,
    UnsupportedSourceError,
)
from ndx_simulation_output.recording import (
    UNKNOWN,
    ArrayAxis,
    ArrayGroup,
    CompartmentTable,
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
    Unit,
)
from ndx_simulation_output.sonata.config import read_config
from tests.sonata.making import SESSION, File, differences, ecp, report, spikes


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


@pytest.mark.parametrize(("dt", "step"), [("0.02500000037252903", 2.5e-5), ("0.0251", 2.51e-5)])
def test_a_time_step_that_float32_has_rounded_is_the_one_that_was_meant(
    dt: str, step: float, tmp_path: Path
) -> None:
    config = tmp_path / "simulation_config.json"
    config.write_text(f'{{"run": {{"dt": {dt}, "tstop": 10}}}}')

    assert read_config(config).run.time_step == step


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
        ({"sections": "dend", "compartments": "center"}, True),
        ({"sections": "soma"}, False),
        ({}, False),
    ],
)
def test_positions_are_computed_where_the_configuration_says_which_compartments(
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


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_of_a_configuration_that_are_not_finite_are_ignored(number: str, run: Path) -> None:
    config = _configured(run, reports={"soma": {}, "clamp": {"module": "clamp_report"}})
    config.write_text(f'{{"run": {{"dt": {number}, "tstop": {number}}}, {config.read_text()[1:]}')

    with open_output(config) as output:
        assert (output.run.time_step, output.run.duration) == (None, None)
        assert [report.name for report in output.reports] == ["soma"]


def test_a_run_that_ends_before_it_starts_has_no_duration(run: Path) -> None:
    with open_output(_configured(run, run={"tstop": -1, "dt": -1}, reports={"soma": {}})) as output:
        assert (output.run.time_step, output.run.duration) == (None, None)


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
        (note,) = output.notes
    tried = f"{run / 'output' / 'dend.h5'} or {Path.cwd() / 'output' / 'dend.h5'}"
    assert note == (
        f"{tried}, named by simulation_config.json (report 'dend'), does not exist or is not a file"
    )


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

    with pytest.warns(UnitWarning, match="'mV', which may be that of another of its variables"):
        output = open_output(config)
    with output:
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


MEMBRANE = {"module": "membrane_report", "cells": "all", "sections": "soma"}


def _of(variable: Any, **entry: Any) -> dict[str, Any]:
    return {**MEMBRANE, "variable_name": variable, **entry}


def _bmtk_report(path: Path, variable: str | None = "v", unit: str | None = None) -> Path:
    """Write a report as bmtk does, which names the first of several variables."""
    file = report(dialect="allen", unit=unit, time_unit=None)
    if variable:
        file.attributes["report/pop/data"]["variable"] = variable
    return file.write(path)


SAME_FILE = [
    # Reports that bmtk joins: those whose cells, sections and file are spelled the same.
    ({"a": _of("v", file_name="x.h5"), "b": _of("m_hh", file_name="x.h5")}, ("b", "m_hh")),
    ({"x": _of("v"), "b": _of(["n", "m_hh"], file_name="x.h5")}, ("b", "m_hh")),
    # Others, that it does not join.
    ({"a": _of("v", file_name="x.h5"), "b": _of("m_hh", file_name="./x.h5")}, ("x", None)),
    ({"a": _of("v", file_name="x.h5"), "b": _of("m_hh", file_name="link.h5")}, ("x", None)),
    (
        {"a": _of("v", file_name="x.h5"), "b": _of("m", file_name="x.h5", sections="all")},
        ("x", None),
    ),
    (
        {"a": {"type": "compartment", "variable_name": "v", "file_name": "x"}, "x": _of("m")},
        ("x", None),
    ),
    ({"a": _of("v", file_name="x.h5"), "b": _of("v, m_hh", file_name="x.h5")}, ("x", None)),
    ({"a": {"type": "summation", "variable_name": "v,n", "file_name": "x"}, "x": {}}, ("x", None)),
    ({"a": {"file_name": "x.h5", "variable_name": "v"}, "b": {"file_name": "x.h5"}}, ("x", None)),
    # One variable only.
    ({"a": _of("v", file_name="x"), "b": _of("v", file_name="x.h5", cells="i")}, ("x", "v")),
]


@pytest.mark.parametrize(("reports", "expected"), SAME_FILE)
@pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.UnitWarning")
def test_values_of_reports_in_one_file_have_the_name_of_their_variable_or_none(
    reports: dict[str, Any], expected: tuple[str, str | None], run: Path
) -> None:
    (run / "output" / "soma.h5").unlink()
    _bmtk_report(run / "output" / "x.h5")
    (run / "output" / "link.h5").symlink_to(run / "output" / "x.h5")
    with open_output(_configured(run, reports=reports)) as output:
        (found,) = output.reports
        notes = output.notes
    assert (found.name, found.variable) == expected
    if expected[1] != "v":
        assert any("name this file" in note for note in notes)
        assert "name this file" in found.description


@pytest.mark.parametrize("reports", [SAME_FILE[0][0], SAME_FILE[2][0]])
@pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.UnitWarning")
def test_values_of_reports_in_one_file_stay_so_in_nwb_and_back(
    reports: dict[str, Any], run: Path
) -> None:
    _bmtk_report(run / "output" / "x.h5")
    convert(_configured(run, reports=reports), run / "o.nwb", metadata=SESSION)
    export_sonata(run / "o.nwb", run / "back", dialect="allen")

    with open_output(run / "o.nwb") as output:
        (found,) = output.reports
        assert "name this file" in output.session["NWBFile"]["notes"]
        assert "name this file" in found.description
        assert found.variable in {"m_hh", None}
    with h5py.File(run / "back" / "x.h5") as file:
        assert file["report/pop/data"].attrs.get("variable") == found.variable


LISTS = [
    (["v", "m_hh"], "v", "m_hh"),
    (["v", "m_hh"], "m_hh", "m_hh"),
    (["v", "m_hh"], "n", None),
    (["v", "m_hh"], None, None),
    ('["v", "m_hh"]', "v", None),
    ("v,m_hh", "v", None),
    ("v m_hh", "v, m_hh", None),
    (["v"], "v", "v"),
    (["v", "v"], "v", "v"),
    ("v, v", "v", "v"),
    ("v", "cai", "cai"),
]


@pytest.mark.parametrize(("listed", "stated", "expected"), LISTS)
def test_a_list_of_variables_is_read_as_the_last_or_none(
    listed: Any, stated: str | None, expected: str | None, run: Path
) -> None:
    _bmtk_report(run / "output" / "soma.h5", stated, "mV")
    config = _configured(run, reports={"soma": _of(listed)})

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        output = open_output(config)
    with output:
        found, notes = output["soma"], output.notes
    assert found.variable == expected
    # The unit may be that of another variable.
    assert (found.unit == UNKNOWN) is (expected != "v")
    assert bool(caught) is (expected != "v")
    assert bool(notes) is (expected != "v")


def test_the_variables_of_a_sum_are_all_of_it(run: Path) -> None:
    entry = {"type": "summation", "variable_name": "ica, ik", "unit": "nA"}
    config = _configured(run, reports={"soma": entry})

    with open_output(config) as output:
        assert (output["soma"].variable, output["soma"].unit.name) == ("ica, ik", "amperes")
        assert not output.notes


CSV = "timestamps population node_ids\n1.5 pop 3\n2.5 pop 1.0\n"


@pytest.mark.parametrize(
    "named",
    [
        {"spikes_file_csv": "s.csv"},
        {"spikes_csv": "s.csv"},
        {"spikes_file": "s.csv"},
        {"spikes_file": "s.h5"},
        {"spikes_file": ["s.csv"]},
        {"spikes_h5": "s"},
        {"my_spikes": "s.csv", "log_file": "log.txt", "log_level": "INFO"},
    ],
)
def test_spikes_in_text_are_read_however_they_are_named(named: dict[str, Any], run: Path) -> None:
    (run / "output" / "out.h5").unlink()
    (run / "output" / str(next(iter(named.values()))).strip("[']")).write_text(CSV)
    config = _configured(run, output=named, reports={"soma": {}})

    with open_output(config) as output:
        (found,) = output.spikes
        assert (found.node_ids.tolist(), found.times.tolist()) == ([3, 1], [0.0015, 0.0025])
        assert not output.notes


@pytest.mark.parametrize("key", ["spikes_file", "spikes_h5", "other"])
@pytest.mark.parametrize("name", ["s.csv", "s", "s.hdf", "s.dat"])
def test_spikes_in_hdf5_are_read_whatever_their_suffix(key: str, name: str, run: Path) -> None:
    (run / "output" / "out.h5").rename(run / "output" / name)

    with open_output(_configured(run, output={key: name}, reports={"soma": {}})) as output:
        assert _names(output) == (["soma"], ["pop"])


def test_a_report_of_spikes_names_them_too(run: Path) -> None:
    (run / "output" / "out.h5").rename(run / "output" / "s.h5")
    reports = {"soma": {}, "spikes": {"module": "spikes_report", "spikes_file": "s.h5"}}

    with open_output(_configured(run, reports=reports)) as output:
        assert _names(output) == (["soma"], ["pop"])
        assert not output.notes


def test_spikes_of_one_run_in_several_forms_are_read_once_and_told_of(run: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (run / "output" / name).write_text(CSV)
    files = {"spikes_csv": "a.csv", "spikes_file_csv": "b.csv"}

    with open_output(_configured(run, output=files)) as output:
        assert [len(part.times) for part in output.spikes] == [2]
        assert "b.csv, as the spikes were read from another file" in output.notes[-1]
    files["spikes_file"] = "out.h5"
    with open_output(_configured(run, output=files)) as output:
        assert [len(part.times) for part in output.spikes] == [3]
        assert sum("were read from HDF5" in note for note in output.notes) == 2


def test_spikes_that_bmtk_writes_in_nwb_are_in_milliseconds(run: Path) -> None:
    (run / "output" / "out.h5").unlink()
    nwbfile = NWBFile("BMTK 1.2.0 generated NWB spikes file", "id", datetime.now().astimezone())
    nwbfile.add_unit_column("population", "population")
    nwbfile.add_unit_column("node_id", "id")
    nwbfile.add_unit(id=7, spike_times=[130.5, 2.0], population="l4", node_id=7)
    nwbfile.add_unit(id=7, spike_times=[40.0], population="l5", node_id=7)
    with NWBHDF5IO(run / "output" / "spikes.nwb", "w") as io:
        io.write(nwbfile)
    config = _configured(run, output={"spikes_nwb": "spikes.nwb"}, reports={"soma": {}})

    for source in (config, run / "output"):
        with open_output(source) as output:
            found = {part.population: part for part in output.spikes}
            assert found["l4"].times.tolist() == [0.1305, 0.002]
            assert found["l5"].node_ids.tolist() == [7]
            assert any("bmtk writes where NWB has seconds" in note for note in output.notes)
    _configured(run / "output", output={"output_dir": ".", "spikes_nwb": "spikes.nwb"}, reports={})
    with open_output(run / "output") as output:
        assert not any("left out" in note for note in output.notes)


def test_everything_else_that_a_configuration_names_is_told_of_in_the_file(run: Path) -> None:
    (run / "output" / "net.h5").mkdir()
    File(groups=["nodes/pop"]).write(run / "output" / "nodes.h5")
    (run / "output" / "pop.txt").write_text("0 0.1 3.5\n")
    (run / "output" / "w.csv").write_text("source_node_id time_ms weights\n")
    output = {"rates_file": "pop.txt", "network": "nodes.h5", "cell_vars_dir": "net.h5", "n": 3}
    reports = {
        "soma": {"contributions_dir": "contribs", "file_name_nwb": "soma.nwb"},
        "syn": {"module": "save_synapses", "network_dir": "synapses"},
        "w": {"module": "weight_recorder"},
    }
    config = _configured(run, output=output, reports=reports)

    convert(config, run / "o.nwb", metadata=SESSION)

    with open_output(run / "o.nwb") as stored:
        notes = stored.session["NWBFile"]["notes"]
    named = ("contribs", "soma.nwb", "synapses", "'syn'", "w.csv", "pop.txt", "nodes.h5", "net.h5")
    assert [name for name in named if name not in notes] == []
    assert str(run) not in notes


@pytest.mark.parametrize(
    ("name", "entry", "file"),
    [
        ("v.h5", {}, "v.h5"),
        ("v.h5", {}, "v.h5.h5"),
        ("v.hdf", {}, "v.hdf"),
        ("v.hdf5", {}, "v.hdf5"),
        ("v.x", {}, "v.x.h5"),
        ("v", {}, "v.h5"),
        ("v", {"file_name": "w"}, "w"),
        ("v", {"file_name": "w"}, "w.h5"),
        ("v", {"file_name": "w.dat"}, "w.dat"),
        ("v", {"file_name": "w.hdf5"}, "w.hdf5.h5"),
    ],
)
def test_a_report_is_found_by_its_name_as_written_and_with_h5(
    name: str, entry: dict[str, str], file: str, run: Path
) -> None:
    (run / "output" / "soma.h5").rename(run / "output" / file)

    with open_output(_configured(run, reports={name: entry})) as output:
        assert _names(output) == ([name], ["pop"])
        assert not output.notes


def test_relative_names_are_tried_from_the_configuration_and_the_working_directory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "config").mkdir()
    manifest = {"$OUT": "${workingdir}/output"}
    config = _configured(
        run / "config",
        manifest=manifest,
        output={"output_dir": "$OUT", "spikes_file": "out.h5"},
        reports={"soma": {}},
    )

    with pytest.raises(SourceError, match=f"{run / 'config' / 'output' / 'soma.h5'} or "):
        open_output(config)
    monkeypatch.chdir(run)
    with open_output(config) as output:
        assert _names(output) == (["soma"], ["pop"])
        (note,) = output.notes
    assert f"read from the working directory, {run}, as bmtk does: soma.h5, out.h5" in note
    (run / "config" / "output").mkdir()
    report(rows=7, time=(0.0, 0.7, 0.1)).write(run / "config" / "output" / "soma.h5")
    with open_output(config) as output:
        assert output["soma"].data.shape[0] == 7
        assert sum(str(run / "output" / "soma.h5") in note for note in output.notes) == 1


def test_files_beside_the_configuration_are_told_of_once(run: Path) -> None:
    report().write(run / "output" / "dend.h5")
    output = {"output_dir": "gone", "spikes_file": "out.h5"}
    config = _configured(run / "output", output=output, reports={"soma": {}, "dend": {}})

    with open_output(config) as found:
        assert _names(found) == (["soma", "dend"], ["pop"])
        (note,) = found.notes
    assert note.endswith("read beside it, as they are not where it says: soma.h5, dend.h5, out.h5")


def _with_sections(directory: Path, sections: list[int], config: dict[str, Any]) -> Path:
    count = len(sections)
    file = report([7], [count], data=np.zeros((3, count), "f4"), element_ids=np.asarray(sections))
    file.write(directory / "output" / "soma.h5")
    entry = {"type": "compartment", "sections": "all", **config.pop("soma")}
    return _configured(directory, reports={"soma": entry}, **config)


@pytest.mark.parametrize(
    ("entry", "sections", "expected"),
    [
        ({"compartments": "center"}, [0, 4, 2], [0.5, 0.5, 0.5]),
        ({"compartments": "center"}, [0, 4, 4], None),
        ({"compartments": "all"}, [0, 4, 4], [0.5, 0.25, 0.75]),
        ({"compartments": "all"}, [4, 0, 4], None),
        ({}, [0, 4, 2], [0.5, 0.5, 0.5]),
        ({}, [0, 4, 4], None),
    ],
)
def test_positions_follow_from_the_compartments_of_the_configuration(
    entry: dict[str, str], sections: list[int], expected: list[float] | None, run: Path
) -> None:
    with open_output(_with_sections(run, sections, {"soma": entry})) as output:
        columns, notes = output["soma"].compartments.columns, output.notes
    found = columns["position"][:].tolist() if "position" in columns else None
    assert found == expected
    assert bool(notes) is (expected is None)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([[7, 0, 0.5], [7, 4, 0.1], [7, 4, 0.9], [8, 1, 0.5]], [0.5, 0.1, 0.9]),
        ([[7, 4, 0.1], [7, 4, 0.9], [7, 0, 0.5]], [0.5, 0.1, 0.9]),
        ([[7, 0, 0.5], [7, 4, 0.1]], None),
        ([[7, "dend[3]", 0.5]], None),
        ([[7, 0, 0.5], [7, 4.5, 0.1], [7, 4, 0.9]], None),
        ([[7, 0, 1.5], [7, 4, 0.1], [7, 4, 0.9]], None),
        ([[7, 0, float("nan")], [7, 4, 0.1], [7, 4, 0.9]], None),
        ([[float("inf"), 0, 0.5], [7, 4, 0.1], [7, 4, 0.9]], None),
        ([[7, 0], [7, 4], [7, 4]], None),
    ],
)
def test_positions_of_a_compartment_set_are_those_that_it_lists(
    listed: list[list[Any]], expected: list[float] | None, run: Path
) -> None:
    (run / "sets.json").write_text(
        json.dumps({"some": {"population": "pop", "compartment_set": listed}})
    )
    entry = {"type": "compartment_set", "compartment_set": "some", "sections": "all"}
    config = {"compartment_sets_file": "sets.json", "soma": entry}
    with open_output(_with_sections(run, [0, 4, 4], config)) as output:
        columns, notes = output["soma"].compartments.columns, output.notes
    found = columns["position"][:].tolist() if "position" in columns else None
    assert found == expected
    assert bool(notes) is (expected is None)


@pytest.mark.parametrize("sets", [None, "gone.json", "sets.json"])
def test_a_compartment_set_that_is_not_found_is_told_of(sets: str | None, run: Path) -> None:
    (run / "sets.json").write_text("{}")
    entry = {"type": "compartment_set", "compartment_set": "some"}
    config = {"compartment_sets_file": sets, "soma": entry}

    with open_output(_with_sections(run, [0, 4], config)) as output:
        assert "position" not in output["soma"].compartments.columns
        assert "positions of report 'soma' are unknown" in output.notes[0]


def _part(directory: Path, start: float, *, dialect: str = "allen", **options: Any) -> Path:
    """Write the output of a part of a run from ``start`` (ms): a report, potentials and spikes."""
    directory.mkdir()
    time = (start, start + 0.3, 0.1)
    data = np.arange(9, dtype="f4").reshape(3, 3) + np.float32(100 * start)
    file = report(time=time, data=data, dialect=dialect, element_pos=np.zeros(3), **options)
    file.write(directory / "v_report.h5")
    spikes([4, 1], [start, start + 0.25]).write(directory / "spikes.h5")
    ecp(data[:, :2], time=time).write(directory / "ecp.h5")
    config = {"run": {"tstart": start, "tstop": start + 0.3, "dt": 0.1}, "output": {}}
    config["output"]["output_dir"] = "."
    config["reports"] = {"v_report": {"variable_name": "v"}, "ecp": {"variable_name": "v"}}
    (directory / "simulation_config.json").write_text(json.dumps(config))
    return directory


def _files(directory: Path) -> list[Path]:
    return [directory / name for name in ("v_report.h5", "spikes.h5", "ecp.h5")]


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@pytest.mark.parametrize(
    "sources",
    [
        lambda parts: parts,
        lambda parts: [part / "simulation_config.json" for part in parts],
        lambda parts: [path for part in parts for path in _files(part)],
    ],
    ids=["directories", "configurations", "files"],
)
@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_parts_of_a_run_in_time_are_joined(sources: Any, dialect: str, tmp_path: Path) -> None:
    starts = {"b": 10.3, "c": 10.6, "a": 10.0}
    parts = [_part(tmp_path / name, start, dialect=dialect) for name, start in starts.items()]

    convert(sources(parts), tmp_path / "run.nwb", metadata=SESSION)
    export_sonata(tmp_path / "run.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "v_report.h5") as back:
        pop = back["report/pop"]
        assert pop["data"][:, 0].tolist() == [1000, 1003, 1006, 1030, 1033, 1036, 1060, 1063, 1066]
        assert pop["mapping/time"][:].tolist() == pytest.approx([10.0, 10.9, 0.1])
        assert ("index_pointer" in pop["mapping"]) == (dialect == "allen")
    with h5py.File(tmp_path / "back" / "ecp.h5") as back:
        assert back["ecp/data"].shape == (9, 2)
    with h5py.File(tmp_path / "back" / "spikes.h5") as back:
        times = back["spikes/pop/timestamps"][:]
        assert times.tolist() == pytest.approx([10.0, 10.25, 10.3, 10.55, 10.6, 10.85])


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_spikes_of_parts_at_times_that_are_not_finite_are_exported(tmp_path: Path) -> None:
    parts = [_part(tmp_path / name, start) for name, start in {"a": 10.0, "b": 10.3}.items()]
    spikes([4, 1, 4], [10.0, np.nan, 10.2]).write(parts[0] / "spikes.h5")
    spikes([1, 4, 1], [np.inf, 10.3, np.nan]).write(parts[1] / "spikes.h5")

    convert(parts, tmp_path / "run.nwb", metadata=SESSION)
    export_sonata(tmp_path / "run.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "spikes.h5") as back:
        times = back["spikes/pop/timestamps"][:]
        assert times.tolist() == pytest.approx(
            [10.0, 10.2, 10.3, np.nan, np.inf, np.nan], nan_ok=True
        )
        assert back["spikes/pop/node_ids"][:].tolist() == [4, 4, 4, 1, 1, 1]


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_parts_of_a_run_with_a_gap_or_other_cells_are_refused(tmp_path: Path) -> None:
    first = _part(tmp_path / "a", 10.0)
    gap = _part(tmp_path / "gap", 10.5)
    other = _part(tmp_path / "other", 10.3, cells=(4, 2))

    with pytest.raises(ShapeMismatchError, match=r"of \S*a ends at 0\.0102 s and .*gap begins at"):
        open_output([gap, first])
    with pytest.raises(ShapeMismatchError, match="have other cells, such as 1; expected the same"):
        open_output([first, other])


def _clashing(directory: Path) -> list[Path]:
    """Write v of the populations l4 and l5, and a report v_l4 of l4."""
    both = report(population="l4") | report((9, 2), (1, 1), population="l5", rows=4)
    other = report((7, 5), (1, 3), population="l4", rows=2)
    return [both.write(directory / "v.h5"), other.write(directory / "v_l4.h5")]


@pytest.mark.parametrize("reverse", [False, True])
def test_names_that_become_equal_are_kept_apart_and_come_back(
    reverse: bool, tmp_path: Path
) -> None:
    sources = _clashing(tmp_path)
    convert(sources[:: -1 if reverse else 1], tmp_path / "run.nwb", metadata=SESSION)
    back = export_sonata(tmp_path / "run.nwb", tmp_path / "back").files

    with open_output(tmp_path / "run.nwb") as output:
        found = {one.name: (one.report, one.population) for one in output.reports}
        assert found == {"v_l4_2": ("v", "l4"), "v_l5": ("v", "l5"), "v_l4": ("v_l4", "l4")}
    assert {path.name for path in back} == {path.name for path in sources}
    for path in sources:
        assert differences(path, tmp_path / "back" / path.name) == []


def test_a_unit_for_a_name_of_two_reports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnitError, match="two reports are named 'v_l4': one is report 'v' of pop"):
        open_output(_clashing(tmp_path), unit={"v_l4": "V"})


def test_names_that_nwb_changes_stay_unique_and_come_back(tmp_path: Path) -> None:
    times, volts = RegularTimes(0.0, 1e4, 3), Unit("volts", 1e-3)
    table = CompartmentTable.from_cells("pop", np.arange(2))
    reports = tuple(
        Report(name, name, np.full((3, 2), number, "f4"), times, table, volts)
        for number, name in enumerate(("a/b", "a:b", "a_b", "lfp", "arrays"))
    )
    lfp = tuple(
        ExtracellularPotential(name, np.full((3, 1), 9.0), times, np.arange(1), volts)
        for name in ("lfp", "a_b", "a/b")
    )
    arrays = (ArrayGroup("arrays", axes=(ArrayAxis("x", np.arange(3.0)),)),)
    output = SimulationOutput(reports=reports, potentials=lfp, arrays=arrays)

    convert(output, tmp_path / "run.nwb", metadata=SESSION)
    convert(tmp_path / "run.nwb", tmp_path / "again.nwb")
    written = export_sonata(tmp_path / "again.nwb", tmp_path / "back")

    with NWBHDF5IO(tmp_path / "again.nwb", "r") as io:
        names = set(io.read().acquisition)
    assert names == {
        *("a_b", "a_b_2", "a_b_3", "lfp", "arrays"),
        *("lfp_2", "a_b_4", "a_b_5", "arrays_2"),
    }
    with open_output(tmp_path / "again.nwb") as found:
        assert {one.name: one.data[0, 0] for one in found.reports} == {
            one.name: one.data[0, 0] for one in reports
        }
        assert {one.name for one in found.potentials} == {"lfp", "a_b", "a/b"}
        assert [group.name for group in found.arrays] == ["arrays"]
    values = {}
    for path in written.files:
        with h5py.File(path) as file:
            if "report" in file:
                values[path.stem] = file["report/pop/data"][0, 0]
    assert values == {"a_b": 0, "a_b_3": 1, "a_b_2": 2, "lfp": 3, "arrays": 4}


def test_two_reports_of_one_name_and_population_are_refused(tmp_path: Path) -> None:
    table = CompartmentTable.from_cells("pop", np.arange(2))
    one = Report("v", "v", np.zeros((3, 2)), RegularTimes(0.0, 1e4, 3), table, UNKNOWN)

    with pytest.raises(NameClashError, match="two reports are named 'v'"):
        convert(SimulationOutput(reports=(one, one)), tmp_path / "run.nwb", metadata=SESSION)

    assert not (tmp_path / "run.nwb").exists()


def test_an_output_that_was_moved_is_read_with_its_configuration_not_with_the_working_directory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = {"output_dir": "output", "spikes_file": "out.h5"}
    reports = {"a": _of("v", file_name="x.h5"), "b": _of("m_hh", file_name="x.h5")}
    moved = run / "moved"
    (run / "output").rename(moved)
    (moved / "soma.h5").unlink()
    _bmtk_report(moved / "x.h5")
    _configured(moved, output=output, reports=reports, run={}).rename(moved / "config.run.json")
    (moved / "node_sets.json").write_text("{}")
    (run / "output").mkdir()
    report(rows=9).write(run / "output" / "x.h5")
    monkeypatch.chdir(run)

    with pytest.warns(UnitWarning):
        found = open_output(moved)
    with found:
        assert [(one.name, one.variable, one.data.shape[0]) for one in found.reports] == [
            ("b", "m_hh", 3)
        ]
        assert sum("names two files" in note for note in found.notes) == 2
        assert sum("read beside it" in note for note in found.notes) == 1


@pytest.mark.parametrize("name", ["soma", "soma.HDF5", "soma.hdf"])
def test_hdf5_of_any_suffix_or_none_in_a_directory_is_read(name: str, run: Path) -> None:
    (run / "output" / "soma.h5").rename(run / "output" / name)
    (run / "output" / "README").write_text("a run")

    with open_output(run / "output") as output:
        assert _names(output) == (["soma"], ["pop"])


def test_what_a_file_costs_does_not_grow_with_the_number_of_files(tmp_path: Path, monkeypatch):
    resolved: list[Path] = []
    original = Path.resolve

    def counted(path: Path, **options: Any) -> Path:
        resolved.append(path)
        return original(path, **options)

    counts = []
    for count in (4, 8, 12):
        folder = tmp_path / str(count)
        folder.mkdir()
        names = [f"r{number}" for number in range(count)]
        for name in names:
            report().write(folder / f"{name}.h5")
        config = _configured(folder, reports={name: {"file_name": f"{name}.h5"} for name in names})
        with monkeypatch.context() as patched:
            patched.setattr(Path, "resolve", counted)
            with open_output(config) as output:
                assert len(output.reports) == count
        counts.append(len(resolved))
        resolved.clear()

    assert counts[2] - counts[1] == counts[1] - counts[0]
