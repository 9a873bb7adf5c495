"""The command ``ndx-sim plot``."""

import pytest
from click.testing import CliRunner, Result

from ndx_simulation_output import sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.cli import main
from ndx_simulation_output.neuronvisio import Manager, VecRef

pytest.importorskip("matplotlib")


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["plot", *map(str, words)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plot") / "output"
    sonata.write(simulate(duration=0.02), directory)
    return directory


@pytest.fixture
def output(made, tmp_path, monkeypatch):
    """The files of a run, in a separate working directory."""
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def storage(output, tmp_path):
    """A Neuronvisio storage with two sections and no geometry."""
    manager = Manager()
    for place, name in enumerate(("soma", "dend")):
        ref = VecRef(name)
        ref.vecs = {"v": [-65.0 + place, 20.0, -60.0]}
        manager.add_ref(ref, [0.0, 0.1, 0.2])
    manager.save_to_hdf(tmp_path / "storage.h5")
    return tmp_path / "storage.h5"


def test_the_target_is_named_after_the_source(output, tmp_path):
    done = run(output)

    assert (done.exit_code, done.output) == (0, "wrote output.png\n")
    assert (tmp_path / "output.png").read_bytes().startswith(b"\x89PNG")


def test_an_existing_file_is_replaced_only_with_overwrite(output):
    run(output, "--kind", "rates")

    again = run(output, "--kind", "rates")

    assert again.exit_code == 1
    assert "error: output.png exists already; pass --overwrite" in again.output
    assert run(output, "--kind", "rates", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--kind", "heat", "--report", "v", "--pixel", "max"),
        ("--kind", "traces", "--cells", "0,3-5", "--numbers", "0", "--population", "exc"),
        ("--kind", "raster", "--population", "inh", "--time", "0", "0.01"),
        ("--variable", "v", "--time", "0.001", "0.002"),
        ("--kind", "channels", "--dpi", "30"),
        ("--kind", "neuron", "--report", "v_inh", "--cells", "100", "--at", "0.01"),
        ("--kind", "channels", "--channels", "3,0-1"),
    ],
)
def test_options_choose_what_is_drawn(output, tmp_path, options):
    done = run(output, "-o", "p.svg", *options)

    assert (done.exit_code, done.output) == (0, "wrote p.svg\n")
    assert (tmp_path / "p.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cells", "99", "--kind", "traces"), "the output has no cells (--cells) 99; it has: "),
        (
            ("--channels", "9", "--kind", "channels"),
            "no channels (--channels) 9; it has: 0, 1",
        ),
        (("--cells", "L5"), "has no node set 'L5'"),
        (("--group-by", "layer"), "no cells have the property 'layer' (--group-by); properties: "),
        (("--kind", "weights"), "nothing to draw with kind='weights'; the output has: report"),
        (("--report", "w"), "the output has no report (--report) 'w'; it has: i_membrane, v_exc"),
        (("--kind", "rates", "--pixel", "max"), "how (--pixel) does not apply to a plot of kind"),
        (("--overlay", "--kind", "raster"), "overlay (--overlay) does not apply to a plot of kind"),
        (("-o", "p.doc"), "p.doc is not an image file; expected a name that ends in .png"),
        (("-o", "none/p.png"), "the directory none does not exist"),
    ],
)
def test_data_that_cannot_be_drawn_are_one_message_and_status_1(output, tmp_path, options, message):
    done = run(output, *options)

    assert done.exit_code == 1
    assert message in done.output
    assert done.output.startswith("error: ")
    assert len(done.output.splitlines()) == 1
    assert list(tmp_path.glob("*")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--kind", "neuron"), "have no coordinates: expected columns x, y and z; found"),
        (("-o", "p.gif"), "have no coordinates: expected columns x, y and z"),
    ],
)
def test_compartments_without_coordinates_are_not_drawn(storage, tmp_path, options, message):
    done = run(storage, *options)

    assert done.exit_code == 1
    assert message in done.output
    assert done.output.startswith("error: ")
    assert len(done.output.splitlines()) == 1
    assert list(tmp_path.glob("*")) == [storage]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cells", "3-"), "'3-' is neither a number nor a range such as 10-19"),
        (("-o", "p.gif", "--group-by", "layer"), "--group-by does not apply"),
        (("--time", "2", "1"), "--time expects START < STOP; found 2 and 1"),
        (("--kind", "pie"), "'pie' is not one of"),
        (
            ("-o", "p.gif", "--kind", "heat"),
            "an animation, which is available for --kind neuron only",
        ),
        (("-o", "p.gif", "--at", "0.01"), "p.gif is an animation; select its times with --time"),
        (("-o", "p.gif", "--color-by", "layer"), "--color-by does not apply"),
        (("-o", "p.gif", "--dpi", "90"), "p.gif is an animation; --dpi does not apply"),
        (("-o", "p.svg", "--frames", "9"), "p.svg is a picture; --frames applies to a .gif"),
    ],
)
def test_wrong_usage_is_status_2(output, options, message):
    done = run(output, *options)

    assert done.exit_code == 2
    assert message in done.output


def test_a_missing_source_is_status_1(output):
    done = run("nothing.nwb")

    assert done.exit_code == 1
    assert done.output == "error: nothing.nwb does not exist\n"


def test_reading_options_are_used(storage):
    done = run(storage, "--unit", "v=mV", "--kind", "traces")

    assert done.exit_code == 0, done.output
