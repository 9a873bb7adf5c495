"""Plots of genuine files of every format."""

import io
from pathlib import Path

import numpy as np
import pytest

from ndx_simulation_output import open_output, plots
from ndx_simulation_output.errors import NothingRecordedError, SimulationOutputError
from tests.conftest import DATA

SONATA = sorted(path.name for path in (DATA / "sonata").glob("*.h5"))
OTHERS = {
    "neuronvisio": ("*.h5", 3),
    "pymodaq": ("v5*/*.h5", 7),
    "annarchy": ("annarchy-5*/[np]*.npz", 4),
    "nwb": ("p026*.nwb", 4),
}
FILES = [f"sonata/{name}" for name in SONATA] + [
    str(path.relative_to(DATA))
    for folder, (pattern, _) in OTHERS.items()
    for path in sorted((DATA / folder).glob(pattern))
]
EMPTY = "01_axis"
"""Files with this name contain an axis and no data."""


def png_of(figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=40)
    return target.getvalue()


def opened(path: Path):
    options = {"dt": 0.5} if "annarchy" in path.parts else {}
    return open_output(path, **options)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the genuine files are not at {DATA}")
def test_there_are_files_of_each_kind():
    for folder, (_, least) in OTHERS.items():
        assert sum(name.startswith(folder) for name in FILES) >= least, folder
    assert len(SONATA) >= 40


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@pytest.mark.filterwarnings("ignore:Ignoring the following cached namespace")
@pytest.mark.parametrize("name", FILES)
def test_a_genuine_file_can_be_plotted(name):
    try:
        output = opened(DATA / name)
    except SimulationOutputError as error:
        pytest.skip(f"not readable: {str(error)[:80]}")
    with output:
        if EMPTY in name:
            with pytest.raises(NothingRecordedError, match="nothing to draw"):
                plots.draw(output)
            return
        figure = plots.draw(output)
        assert png_of(figure).startswith(b"\x89PNG")
        assert all(ax.has_data() or ax.texts for ax in figure.axes)
        assert output._repr_html_().startswith("<div>")


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_a_genuine_neuron_is_drawn_in_space(neuronvisio_data):
    with open_output(neuronvisio_data / "cvode_nv091_pt240.h5") as output:
        figure = plots.draw(output, "neuron", plots.PictureOptions(at=0.004))
        colored = figure.axes[0].collections[0].get_array()
        expected = 1e3 * output["v"].get_traces(start=0.003, stop=0.005)

    assert len(colored) == 5
    assert colored.min() >= expected.min()
    assert colored.max() <= expected.max()
    assert png_of(figure).startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_a_genuine_report_has_its_values_in_the_heat_map(sonata_data):
    with open_output(sonata_data / "snap_soma_report.h5") as output:
        report = output.reports[0]
        figure = plots.draw(output, "heat", plots.PictureOptions(report=report.name))
        shown = figure.axes[0].images[0].get_array()
        values = report.get_traces()

    assert shown.shape == values.T.shape
    ratio = shown[values.T != 0] / values.T[values.T != 0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
