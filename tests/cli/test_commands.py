"""The command line: its exit status and both its streams, some in a process of its own."""

import contextlib
import errno
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from ndx_simulation_output import sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.cli import main, output
from ndx_simulation_output.demo import run_demo

COMMANDS = ["demo", "convert", "export", "info", "check", "plot", "recover", "view"]
# Not DeprecationWarning: libraries that pynwb uses raise it of each other at exit.
_ERRORS = ("UserWarning", "FutureWarning", "ResourceWarning")
STRICT = (*(f"-Werror::{name}" for name in _ERRORS), "-Wignore::DeprecationWarning")
SESSION = "NWBFile:\n  session_start_time: 2026-01-31T12:00:00+01:00\n"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run ``ndx-sim`` in this process, in which every warning that is not ours is an error."""
    command, status = [*map(str, words)], 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            main(command, prog_name="ndx-sim")
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(command, status, output.getvalue(), errors.getvalue())


def run_process(*words: object) -> subprocess.CompletedProcess[str]:
    """Run ``ndx-sim`` as the shell does, with every warning that is not ours an error."""
    code = "from ndx_simulation_output.cli import main; main(prog_name='ndx-sim')"
    command = [sys.executable, *STRICT, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")


def said_in_one_line(finished: subprocess.CompletedProcess[str], prefix: str) -> str:
    """Give the only line on stderr; there must be no other, and no traceback."""
    (line,) = finished.stderr.splitlines()
    assert line.startswith(prefix)
    return line


@pytest.fixture(scope="session")
def made_demo(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("cli") / "demo"
    list(run_demo(directory))
    return directory


@pytest.fixture
def demo(made_demo, tmp_path, monkeypatch) -> Path:
    """The files of the demo in the working directory, free to be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made_demo, "demo")
    return Path("demo")


@pytest.fixture
def report_without_unit(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sonata.write(simulate(duration=0.005), Path("output"))
    with h5py.File("output/v.h5", "r+") as file:
        for population in file["report"].values():
            del population["data"].attrs["units"]
    return Path("output/v.h5")


@pytest.fixture
def session(tmp_path) -> Path:
    path = tmp_path / "session.yaml"
    path.write_text(SESSION, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example_of_it(command):
    result = CliRunner().invoke(main, [command, "--help"])

    assert result.exit_code == 0
    assert f"Example:\n    ndx-sim {command}" in result.output


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_of_a_command_fits_a_terminal_and_ends_with_its_example(command):
    result = CliRunner().invoke(main, [*command.split(), "--help"], env={"COLUMNS": "80"})

    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and "Usage" not in line]
    assert lines[-1].startswith("    ndx-sim ")


def test_the_help_of_convert_has_sections():
    told = CliRunner().invoke(main, ["convert", "--help"]).output

    titles = [line for line in told.splitlines() if re.fullmatch(r"\w.*:", line)]
    assert titles == ["Options:", "How the source is read:", "How data are stored:"]


def test_the_help_lists_every_command_with_what_it_does():
    result = CliRunner().invoke(main, ["-h"])

    assert result.exit_code == 0
    assert sorted(main.commands) == sorted(COMMANDS)
    for command in COMMANDS:
        assert f"\n  {command} " in result.output


def test_the_version_is_that_of_the_distribution():
    result = CliRunner().invoke(main, ["--version"])

    assert result.exit_code == 0
    assert "0.3.0" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["convert"],
        ["convert", "v.h5"],
        ["convert", "v.h5", "v.nwb", "--unit", "mV"],
        ["convert", "v.h5", "v.nwb", "--dt", "0"],
        ["convert", "v.h5", "v.nwb", "--compression", "szip"],
        ["convert", "v.h5", "v.nwb", "--chunks", "0,5"],
        ["convert", "v.h5", "v.nwb", "--chunks", "5"],
        ["convert", "v.h5", "v.nwb", "--colour"],
        ["export", "v.nwb"],
        ["export", "v.nwb", "out", "--dialect", "neuroml"],
        ["info"],
        ["check"],
        ["paint", "v.nwb"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_how_it_is_used(words):
    result = CliRunner().invoke(main, words, prog_name="ndx-sim")

    assert result.exit_code == 2
    assert result.output.startswith("Usage: ndx-sim")
    assert "Error: " in result.output


def test_convert_refuses_a_target_that_does_not_end_in_nwb(demo):
    finished = run_process("convert", demo / "sonata", "run.h5")

    assert finished.returncode == 2
    assert "TARGET must end in .nwb or .nwb.zarr; found run.h5" in finished.stderr
    assert not Path("run.h5").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["convert", "gone.h5", "run.nwb"], "gone.h5 does not exist"),
        (["convert", "text.h5", "run.nwb"], "text.h5 is not an HDF5 file"),
        (["export", "gone.nwb", "out"], "gone.nwb does not exist"),
        (["export", "text.h5", "out"], "text.h5 cannot be read as NWB"),
        (["info", "gone.nwb"], "gone.nwb does not exist"),
        (["info", "text.h5"], "text.h5 is not an HDF5 file"),
        (["check", "gone.nwb"], "gone.nwb does not exist"),
        (["check", "text.h5"], "text.h5 cannot be read as NWB"),
        (["check", "."], ". is a directory; expected an NWB file"),
        (["check", "https://server/run.nwb"], "https://server/run.nwb is a URL"),
        (["convert", "https://server/run.nwb", "x.nwb"], "https://server/run.nwb is a URL"),
        (["convert", "text.h5", "s3://bucket/run.nwb"], "s3://bucket/run.nwb is a URL; write a"),
        (["plot", "x.nwb", "-o", "s3://me:pw@b/a.png"], "error: s3://b/a.png is a URL; write a"),
        (["view", "https://me:pw@server/a.nwb"], "error: https://server/a.nwb is a URL; only"),
        (["info", "."], "text.h5 is not an HDF5 file"),
        (["info", ""], "text.h5 is not an HDF5 file"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_file_at_fault_exits_with_1_and_one_line_on_stderr(words, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.h5").write_text("this is text")

    finished = run(*words)

    assert finished.returncode == 1
    assert reason in said_in_one_line(finished, "error: ")
    assert not finished.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["text.h5"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("convert demo/sonata demo/run.nwb", "exists already; pass --overwrite to replace it"),
        ("info demo/run.nwb --dt 1 --nodes", "error: --dt and --nodes cannot be set for demo/run"),
        ("info storage.h5 --dt 1", "storage.h5 is a file of Neuronvisio, which has no option --dt"),
        ("info demo/sonata --nodes", "no configuration names a circuit, which --nodes needs"),
        ("convert demo/sonata x.nwb --edges", "the source has no circuit, which --edges stores"),
        (
            "convert network.txt x.nwb --metadata session.yaml",
            "the times of network are in time steps; pass --dt, in ms",
        ),
        (
            "export demo/run.nwb storage.h5",
            "storage.h5 is a file; expected the name of a directory",
        ),
        ("info parameters.json", "Set them in the network with annarchy.load_parameters"),
        ("plot monitor.npy", "read it with annarchy.read_recordings(path, dt=…, population=…)"),
        (
            "convert monitor.h5 x.nwb",
            "read it with annarchy.read_recordings(path, dt=…, population",
        ),
        (
            "view recorded.pkl",
            "found: v. Data of monitors have no times and cells: add the monitors",
        ),
        (
            "convert folder x.nwb",
            "looked in folder for simulation_config.json, config.json, circuit",
        ),
        ("info folder", "opened by their names: folder/run.nwb; not searched: folder/inner"),
    ],
)
def test_an_error_is_one_line_in_the_words_of_the_command_line(words, said, demo, session):
    with h5py.File("storage.h5", "w") as file:
        file["results/v"], file["geometry"] = [1.0], [1.0]
    with h5py.File("monitor.h5", "w") as file:
        file["v"], file["exc/u"] = np.zeros((3, 2)), np.zeros((3, 2))
    np.save("monitor.npy", np.zeros((3, 2)))
    part = {"geometry": [2], "v": [0.0, 1.0], "attributes": ["v"]}
    Path("network.txt").write_bytes(pickle.dumps({"time_step": 3, "exc": part}))
    Path("recorded.pkl").write_bytes(pickle.dumps({"v": [1.0]}))
    Path("parameters.json").write_text('{"populations": {}, "projections": {}, "network": {}}')
    Path("folder/inner").mkdir(parents=True)
    shutil.copy(demo / "run.nwb", "folder")

    finished = run(*words.split())

    assert finished.returncode == 1
    assert said in said_in_one_line(finished, "error: ")
    assert not finished.stdout
    assert not Path("x.nwb").exists()


def test_metadata_that_are_no_yaml_are_refused_in_one_line(demo):
    Path("bad.yaml").write_text("NWBFile: [1", encoding="utf-8")

    finished = run("convert", demo / "sonata", "run.nwb", "--metadata", "bad.yaml")

    assert finished.returncode == 1
    assert "bad.yaml cannot be read as YAML" in said_in_one_line(finished, "error: ")


def test_export_refuses_what_is_no_nwb_file(demo):
    finished = run_process("export", demo / "sonata" / "v.h5", "out")

    assert finished.returncode == 1
    assert "v.h5 is not an NWB file of version 2" in said_in_one_line(finished, "error: ")


def test_info_says_the_same_as_json(demo):
    text, found = run("info", demo / "run.nwb").stdout, run("info", demo / "run.nwb", "--json")

    facts = json.loads(found.stdout)
    assert not found.stderr
    (report,) = [report for report in facts["reports"] if report["name"] == "v_exc"]
    assert {report["unit"]["symbol"], report["dtype"]} == {"mV", "float32"}
    assert report["rate_hz"] == pytest.approx(10_000)
    assert f"{report['times']} times × {report['columns']} columns" in text
    assert f"{facts['spikes'][0]['spikes']} spikes of {facts['spikes'][0]['cells']} cells" in text
    assert set(facts) == set(json.loads(run("info", demo / "sonata", "--json").stdout))


def test_convert_says_on_stdout_what_it_wrote_and_nothing_else(demo, session):
    finished = run_process("convert", demo / "sonata", "run.nwb", "--metadata", session)

    assert finished.returncode == 0
    assert finished.stdout == "wrote run.nwb\n"
    assert not finished.stderr


def test_convert_takes_several_sources(demo, session):
    sources = [demo / "sonata" / "ecp.h5", demo / "sonata" / "ecp_electrodes.csv"]

    finished = run("convert", *sources, "ecp.nwb", "--metadata", session)

    assert finished.returncode == 0
    assert "potentials ecp: 4 electrodes with positions" in run("info", "ecp.nwb").stdout


def test_a_warning_of_a_unit_names_the_option_that_sets_it(report_without_unit, session):
    finished = run("convert", report_without_unit, "v.nwb", "--metadata", session)

    assert finished.returncode == 0
    lines = finished.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("warning: ") and "--unit v=UNIT" in line for line in lines)
    assert "unit unknown" in run("info", "v.nwb").stdout


def test_the_option_that_the_warning_names_sets_the_unit(report_without_unit, session):
    finished = run("convert", report_without_unit, "v.nwb", "--unit", "v=mV", "--metadata", session)

    assert finished.returncode == 0
    assert not finished.stderr
    assert "unit mV" in run("info", "v.nwb").stdout


def test_a_warning_of_the_session_names_the_option_that_gives_it(demo):
    finished = run_process("convert", demo / "sonata" / "v.h5", "v.nwb")

    assert finished.returncode == 0
    assert "--metadata FILE.yaml" in said_in_one_line(finished, "warning: session_start_time")


def test_a_unit_for_a_report_that_is_not_there_is_an_error(report_without_unit):
    finished = run("convert", report_without_unit, "v.nwb", "--unit", "voltage=mV")

    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith(
        "error: there is no 'voltage' whose unit could be set"
    )
    assert not Path("v.nwb").exists()


def test_metadata_that_do_not_fit_are_an_error_that_names_them(demo, session):
    session.write_text(SESSION + "  colour: blue\n", encoding="utf-8")

    finished = run("convert", demo / "sonata", "run.nwb", "--metadata", session)

    assert finished.returncode == 1
    assert "colour" in said_in_one_line(finished, "error: section NWBFile of the metadata")
    assert not Path("run.nwb").exists()


def test_an_existing_target_is_refused_and_stays_as_it_was(demo, session):
    Path("run.nwb").write_bytes(b"precious")

    finished = run("convert", demo / "sonata", "run.nwb", "--metadata", session)

    assert finished.returncode == 1
    assert "--overwrite" in said_in_one_line(finished, "error: run.nwb exists already")
    assert Path("run.nwb").read_bytes() == b"precious"


def test_overwrite_replaces_an_existing_target(demo, session):
    Path("run.nwb").write_bytes(b"not so precious")

    finished = run("convert", demo / "sonata", "run.nwb", "--overwrite", "--metadata", session)

    assert finished.returncode == 0
    assert h5py.is_hdf5("run.nwb")


def test_a_target_survives_an_overwrite_that_fails(demo, session):
    Path("run.nwb").write_bytes(b"precious")
    with h5py.File(demo / "sonata" / "v.h5", "r+") as file:
        del file["report/exc/mapping/node_ids"]

    finished = run("convert", demo / "sonata", "run.nwb", "--overwrite", "--metadata", session)

    assert finished.returncode == 1
    assert Path("run.nwb").read_bytes() == b"precious"


def test_info_says_the_same_of_the_sonata_files_and_of_the_nwb_file_made_of_them(demo):
    source, target = run_process("info", demo / "sonata"), run("info", demo / "run.nwb")

    assert source.returncode == target.returncode == 0
    assert not source.stderr + target.stderr
    assert "report v_exc: population exc" in source.stdout
    assert "2000 times × 139 columns, float32, unit mV" in source.stdout
    storage = (" on disk, ", "run: ")
    lines = [line for line in source.stdout.splitlines() if not any(s in line for s in storage)]
    others = [line for line in target.stdout.splitlines() if not any(s in line for s in storage)]
    assert lines == others


def test_check_finds_nothing_wrong_with_what_convert_makes(demo):
    finished = run("check", demo / "run.nwb")

    assert finished.returncode == 0
    assert finished.stdout.splitlines()[-1].endswith("run.nwb: no errors")


def test_check_exits_with_1_for_a_file_that_lacks_a_column(demo):
    with h5py.File(demo / "run.nwb", "r+") as file:
        series = file["acquisition/v_inh"]
        values, attributes = series["data"][:, :-1], dict(series["data"].attrs)
        del series["data"]
        series["data"] = values
        series["data"].attrs.update(attributes)

    finished = run_process("check", demo / "run.nwb")

    assert finished.returncode == 1
    assert "v_inh: The data have 43 columns, but the table describes 44" in finished.stdout
    assert finished.stdout.splitlines()[-1].endswith("run.nwb: 1 error")
    assert "Traceback" not in finished.stderr


def test_export_names_each_file_that_it_wrote(demo):
    finished = run("export", demo / "run.nwb", "back", "--dialect", "allen")

    assert finished.returncode == 0
    written = [Path(line.removeprefix("wrote ")) for line in finished.stdout.splitlines()]
    assert sorted(written) == sorted(Path("back").iterdir())
    with h5py.File("back/v.h5") as file:
        assert "index_pointer" in file["report/exc/mapping"]


def test_export_notes_what_sonata_cannot_say(demo):
    finished = run("export", demo / "run.nwb", "back", "--dtype", "float64")

    assert finished.returncode == 0
    assert "note: report v_exc: libsonata reads only float32" in finished.stderr


def test_export_refuses_existing_files_unless_told_to_overwrite(demo):
    again = ["export", demo / "run.nwb", demo / "sonata"]

    refused, told = run(*again), run(*again, "--overwrite")

    assert refused.returncode == 1
    assert "--overwrite" in said_in_one_line(refused, "error: ")
    assert told.returncode == 0


def test_a_demo_says_what_it_did_and_where_to_look(tmp_path):
    finished = run_process("demo", tmp_path / "demo")

    assert finished.returncode == 0
    assert not finished.stderr
    assert finished.stdout.startswith("simulated 11 cells")
    last = finished.stdout.splitlines()[-1]
    assert last == f"to look at it: ndx-sim view {tmp_path / 'demo' / 'run.nwb'}"
    assert f"drew {tmp_path / 'demo' / 'run.png'}" in finished.stdout
    assert (tmp_path / "demo" / "run.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "demo" / "sonata" / "v.h5").is_file()
    assert (tmp_path / "demo" / "sonata-again" / "v.h5").is_file()


def test_a_demo_without_matplotlib_names_the_extra_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    finished = run("demo", tmp_path / "demo")

    assert finished.returncode == 0
    *_, picture, last = finished.stdout.splitlines()
    assert picture.startswith("drew no picture: ")
    assert picture.endswith("needs matplotlib: pip install 'ndx-simulation-output[plot]'")
    assert last.startswith("to look at it: ndx-sim view ")


@pytest.mark.parametrize("name", ["sonata", "sonata-again", "run.nwb", "run.png", ""])
def test_a_demo_is_refused_before_it_begins_if_something_is_in_its_way(name, tmp_path):
    target = tmp_path / "demo" / name
    target.parent.mkdir(exist_ok=True)
    if name.startswith("sonata"):
        target.mkdir()
        target /= "v.h5"
    target.write_bytes(b"precious")
    before = sorted(tmp_path.rglob("*"))

    finished = run("demo", tmp_path / "demo")

    assert finished.returncode == 1
    assert "demo" in said_in_one_line(finished, "error: ")
    assert not finished.stdout
    assert sorted(tmp_path.rglob("*")) == before
    assert target.read_bytes() == b"precious"


def test_a_demo_is_made_anew_when_told_to_overwrite(demo):
    finished = run("demo", demo, "--overwrite")

    assert finished.returncode == 0
    assert not finished.stderr


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("screen", [_Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_progress_is_drawn_on_a_terminal_only(screen, monkeypatch):
    monkeypatch.setattr(output, "_SECONDS", 0.01)

    with contextlib.redirect_stderr(screen):
        with output.progress_bar("writing run.nwb") as progress:
            time.sleep(0.1)  # Nothing is written yet.
            progress(250, 1000)
            time.sleep(0.1)
            output.print_line("warning: of this", err=True)
            progress(750, 1000)
        output.print_line("note: of that", err=True)

    lines = re.split(r"[\r\n]+", screen.getvalue())
    assert {"warning: of this", "note: of that"} <= set(lines)
    bars = [line for line in lines if line.startswith("writing run.nwb: ")]
    if screen.isatty():
        assert re.match(r"writing run.nwb: 00:0\d$", bars[0])
        assert any(re.search(r" 25%\|.*\| 250/1.00k \[.*<.*B/s\]", line) for line in bars)
    else:
        assert not bars


@pytest.fixture(scope="session")
def run_with_circuit(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("circuit")
    script = Path(__file__).parents[2] / "examples" / "make_circuit.py"
    subprocess.run([sys.executable, script], cwd=folder, check=True, capture_output=True)
    return folder / "run" / "simulation_config.json"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("plot demo/run.nwb --report ", "ecp i_membrane v v_exc v_inh"),
        ("plot demo/sonata --dpi 80 --report v_", "v_exc v_inh"),
        ("plot demo/run.nwb --population ", "exc inh"),
        ("plot demo/run.nwb --variable ", "i_membrane v"),
        ("plot demo/run.nwb --kind ra", "raster rates"),
        ("export demo/run.nwb out --dialect ", "allen bbp"),
        ("plot CIRCUIT --group-by m", "model_type morphology mtype"),
        ("info CIRCUIT --properties layer,mt", "layer,mtype"),
        ("view CIRCUIT --properties la", "layer"),
        ("convert CIRCUIT --cells g", "granular"),
        ("info CIRCUIT --cells layer=", "layer=2/3 layer=4 layer=5 layer=6"),
        ("plot demo/run.nwb --re", "--report"),
        ("plot gone.nwb --report ", ""),
        ("plot text.h5 --report ", ""),
        ("plot https://host/run.nwb --report ", ""),
        ("pl", "plot"),
    ],
)
def test_a_shell_completes_names_of_the_sources(words, expected, demo, run_with_circuit):
    Path("text.h5").write_text("this is text")
    line = f"ndx-sim {words.replace('CIRCUIT', str(run_with_circuit))}"
    place = str(len(line.split(" ")) - 1)
    env = {"_NDX_SIM_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": place}

    result = CliRunner().invoke(main, [], prog_name="ndx-sim", env=env)

    # A type before each name, and nothing else: neither warnings nor tracebacks.
    assert result.output.split() == [f"plain,{name}" for name in expected.split()]


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_one_of_several_processes_is_told_to_share_the_work(variable, demo, monkeypatch):
    monkeypatch.setenv(variable, "2")

    finished = run("convert", demo / "sonata", "run.nwb")

    assert finished.returncode == 2
    assert "add --mpi to share the work" in finished.stderr
    assert not Path("run.nwb").exists()


def test_mpi_without_mpi4py_names_the_extra(monkeypatch):
    # Another test of the process may have imported it.
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)

    result = CliRunner().invoke(main, ["convert", "v.h5", "run.nwb", "--mpi"])

    assert result.exit_code == 1
    assert "--mpi needs mpi4py: pip install 'ndx-simulation-output[mpi]'" in result.output


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_stops_reading_is_no_fault_of_the_file(demo, monkeypatch, options):
    def end(*_: object, err: bool = False, **__: object) -> None:
        if not err:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(click, "echo", end)
    told = run("info", demo / "run.nwb", *options)
    assert told.stderr == ""
    assert told.returncode == 1  # as all commands of click
