"""HTML summaries for notebooks: they read a limited amount, and escape names."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from pynwb import NWBHDF5IO, TimeSeries

from ndx_simulation_output import Compartments, CompartmentSeries, open_output, sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.nwb.types import (
    NAMESPACE,
    Axis,
    DataToExport,
    DataWithAxes,
    LabeledArray,
    NetworkState,
    PopulationState,
    ProjectionState,
)
from ndx_simulation_output.plots.notebook import MOST_BYTES, summarize
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    SimulationOutput,
    Spikes,
)
from tests.plots.test_numbers import a_report
from tests.viewer.making import a_hostile_run, a_mixture


class Counted:
    """Zeros that count the bytes read."""

    def __init__(self, shape, chunks):
        self.shape, self.chunks, self.dtype, self.read = shape, chunks, np.dtype(np.float64), 0

    def __getitem__(self, key):
        rows, columns = (range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True))
        values = np.zeros((len(rows), len(columns)))
        self.read += values.nbytes
        return values


class Frames:
    """Images that record which of them are read."""

    def __init__(self, shape=(1000, 3, 4)):
        self.shape, self.dtype, self.read = shape, np.dtype(np.float64), []

    def __getitem__(self, key):
        self.read.append(key[0])
        return np.broadcast_to(0.0, self.shape)[key]


def plots(html):
    return [found for found in ET.fromstring(html).iter() if found.tag.endswith("svg")]  # noqa: S314


def test_an_output_is_summarised_with_plots():
    html = simulate(duration=0.02)._repr_html_()

    assert len(plots(html)) == 6
    for text in ("report v_exc", "mV, 200 times × 139 compartments of 8 cells"):
        assert text in html
    assert "spikes exc" in html
    assert "potential ecp" in html


def test_a_small_plot_says_its_span_and_range():
    report = a_report(np.array([[-0.07, 0.02], [-0.05, 0.03], [0.01, -0.06]]))
    image = ArrayWithAxes("image", np.arange(12.0).reshape(3, 4), label="counts", unit="K")
    axis = ArrayAxis("Axis00", np.array([1.0, 1.5, 2.0]), "x", "mm", index=0)
    spikes = Spikes("exc", np.array([1, 4]), np.array([0.001, 0.025]))
    weights = Quantity("w", np.array([0.1, 0.3]), unit="nS")
    projection = ProjectionSnapshot("p", np.array([0]), np.array([2]), np.arange(2), (weights,))

    shown = (report, ArrayGroup("cam", (image,), (axis,)), spikes, projection)
    assert [text for one in shown for text in re.findall("<small>(.*?)<", summarize(one))] == [
        "0 to 2 ms, -70 to 30 mV",
        "x 1 to 2 mm, index 0 to 3, 0 to 11 K",
        "2 cells, 1 to 25 ms",
        "w 0.1 to 0.3 nS",
    ]


def test_an_empty_output_is_summarised():
    assert "nothing" in SimulationOutput()._repr_html_()


def test_the_plot_of_a_large_report_reads_a_limited_amount():
    data = Counted((10**7, 8), (1000, 8))
    small = a_report(np.zeros((1, 8)))
    report = replace(small, data=data, times=RegularTimes(0.0, 1e3, 10**7))

    html = report._repr_html_()

    assert 0 < data.read <= MOST_BYTES
    assert len(plots(html)) == 1


def test_a_large_array_of_one_chunk_is_not_plotted():
    data = Counted((10**6, 100), (10**6, 100))
    small = a_report(np.zeros((1, 100)))

    html = replace(small, data=data, times=RegularTimes(0.0, 1e3, 10**6))._repr_html_()

    assert data.read == 0
    assert plots(html) == []


def test_a_closed_output_is_summarised(tmp_path):
    sonata.write(simulate(duration=0.03), tmp_path / "output")
    with open_output(tmp_path / "output") as output:
        assert len(plots(output._repr_html_())) == 6

    assert "spikes exc" in output._repr_html_()


def test_names_are_escaped():
    spikes = Spikes("<script>alert(1)</script>", np.array([1]), np.array([0.5]))

    html = SimulationOutput(spikes=(spikes,))._repr_html_()

    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_network_shows_a_histogram_of_weights():
    weights = Quantity("w", np.array([0.1, 0.2, 0.3]))
    projection = ProjectionSnapshot(
        "p", np.array([0]), np.array([3]), np.array([0, 1, 2]), (weights,), weight="w"
    )

    html = SimulationOutput(networks=(NetworkSnapshot("s", (), (projection,)),))._repr_html_()

    assert "3 synapses" in html
    assert len(plots(html)) == 1


def test_a_population_shows_a_histogram_of_its_first_variable():
    quantities = (
        Quantity("tau", np.full(6, 20.0), kind="parameter"),
        Quantity("v", np.arange(6.0), kind="variable"),
    )
    network = NetworkSnapshot("s", (PopulationSnapshot("exc", (2, 3), quantities),))

    html = SimulationOutput(networks=(network,))._repr_html_()

    (plot,) = plots(html)
    assert sum(float(bar.get("height")) > 0 for bar in plot) == 6


def test_arrays_with_axes_show_lines_images_and_numbers():
    arrays = (
        ArrayWithAxes("line", np.arange(5.0), label="current"),
        ArrayWithAxes("image", np.arange(12.0).reshape(3, 4), label="counts"),
        ArrayWithAxes("stack", np.zeros((2, 3, 4)), label="frames"),
        ArrayWithAxes("one", np.array([7.5]), label="level", unit="K"),
    )
    traces = ArrayGroup("VecRef", (ArrayWithAxes("soma_v", np.arange(9.0)),))

    html = SimulationOutput(arrays=(ArrayGroup("cam", arrays), traces))._repr_html_()

    kinds = [plot.get("aria-label") for plot in plots(html)]
    assert kinds == ["traces", "image", "image", "traces"]
    assert "7.5 K" in html
    assert "3 × 4" in html


def test_a_line_along_an_axis_without_order_stays_in_its_picture():
    axes = (ArrayAxis("x", np.array([0.0, 5.0, 3.0, np.nan, 0.0]), unit="mm"),)
    group = ArrayGroup("g", (ArrayWithAxes("loop", np.arange(5.0)),), axes)

    html = SimulationOutput(arrays=(group,))._repr_html_()

    ((line,),) = plots(html)
    assert line.get("points") == "0.0,80.0 320.0,60.0 192.0,40.0 0.0,0.0"
    assert "x 0 to 5 mm" in html


def test_only_the_shown_part_of_many_dimensions_is_read():
    frames = Frames()
    output = SimulationOutput(arrays=(ArrayGroup("cam", (ArrayWithAxes("stack", frames),)),))

    assert len(plots(output._repr_html_())) == 1
    assert set(frames.read) == {0}


def test_a_large_scan_is_shown_by_its_first_image():
    frames = Frames((1000, 300, 400))
    stack = ArrayWithAxes("stack", frames, nav_indexes=(0,))

    html = summarize(ArrayGroup("scan", (stack,)))

    assert [plot.get("aria-label") for plot in plots(html)] == ["image"]
    assert set(frames.read) == {0}


TABLE = Compartments.from_arrays(number=[0, 0], counts=[1, 1])
EXC = PopulationState.from_arrays((3,), {"v": np.arange(3.0)}, name="exc")
SYNAPSES = {"pre_rank": np.array([0, 1]), "weight": np.array([0.5, 0.7])}
TO_EXC = ProjectionState.from_arrays([4], [2], SYNAPSES, name="to_exc")
ARRAYS = DataWithAxes(
    name="CH00",
    labeled_arrays=[LabeledArray(name="y", data=np.arange(3.0))],
    axis=[Axis(name="x", data=np.arange(3.0), index=0)],
)


@pytest.mark.parametrize(
    ("made", "count", "text"),
    [
        (
            CompartmentSeries("v", np.eye(5, 2), compartments=TABLE, unit="volts", rate=10.0),
            1,
            "report v",
        ),
        (TABLE, 1, "compartments per cell"),
        (EXC, 1, "v"),
        (TO_EXC, 1, "weight"),
        (
            NetworkState(name="state", population_states=[EXC], projection_states=[TO_EXC]),
            2,
            "to_exc weight",
        ),
        (ARRAYS, 1, "CH00"),
        (DataToExport(name="Detector", nwb_data_interfaces=[ARRAYS]), 1, "/Detector/CH00"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fields") else None,
)
def test_nwb_types_are_summarised_with_plots(made, count, text):
    html = made._repr_html_()

    assert html.count("<svg") == count
    assert text in html


def test_a_state_in_a_file_is_summarised_with_plots(tmp_path):
    path = a_mixture(tmp_path / "state.nwb")
    with NWBHDF5IO(path, "r") as io:
        (state,) = [one for one in io.read().acquisition.values() if isinstance(one, NetworkState)]

        assert state._repr_html_().count("<svg") == 3


def test_texts_of_neurodata_types_are_escaped(tmp_path):
    with NWBHDF5IO(a_hostile_run(tmp_path / "run.nwb"), "r") as io:
        ours = [one for one in io.read().objects.values() if one.namespace == NAMESPACE]
        html = [one._repr_html_() for one in ours]
        html += [one._generate_field_html(one.name, one, 0, "") for one in ours]  # noqa: SLF001
    closed = [one._repr_html_() for one in ours]

    known = {"details", "summary", "div", "b", "small", "svg", "rect", "polyline"}
    known |= {"table", "thead", "tbody", "tr", "th", "td"}
    for one in [*html, *closed]:
        tags = {found.tag.rpartition("}")[2] for found in ET.fromstring(f"<div>{one}</div>").iter()}  # noqa: S314
        assert tags <= known
    assert "cannot be read" not in "".join(html)
    assert "cannot be read" in "".join(closed)


def test_objects_that_contain_each_other_are_shown_once():
    one, two = (TimeSeries(name=name, data=[1.0], unit="V", rate=1.0) for name in ("one", "two"))
    one.fields["other"], two.fields["other"] = two, one
    data = DataToExport(name="Detector", nwb_data_interfaces=[one, two])

    assert data._repr_html_().count("(TimeSeries)") == 4
