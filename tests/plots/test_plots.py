"""Plots show the recorded numbers, with labels and units."""

import io
import sys
from dataclasses import replace
from shutil import which

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import proj3d
from pynwb import NWBHDF5IO

from ndx_simulation_output import Compartments, CompartmentSeries, convert, open_output, plots
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.errors import (
    CellNotFoundError,
    ExportError,
    MissingDependencyError,
    NothingRecordedError,
    SelectionError,
    ShapeMismatchError,
    TargetExistsError,
)
from ndx_simulation_output.plots import KINDS, PictureOptions
from ndx_simulation_output.plots.arrays import Grid, GridAxis, grids_of, group_grids
from ndx_simulation_output.plots.look import LIGHT
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    CompartmentTable,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Unit,
)


@pytest.fixture(scope="module")
def output():
    return simulate(duration=0.03)


@pytest.fixture
def branched():
    """One cell of two sections and a compartment; the first row of values is the column index."""
    x = np.array([0.0, 10.0, 20.0, 20.0, 20.0, 5.0])
    y = np.array([0.0, 0.0, 0.0, 10.0, 20.0, -9.0])
    columns = {"number": np.array([0, 0, 0, 1, 1, 2]), "x": x, "y": y, "z": 5 * y}
    columns["position"] = np.array([0.1, 0.5, 0.9, 0.25, 0.75, 0.5])
    table = CompartmentTable.from_counts("net", np.array([7]), np.array([6]), columns)
    values = np.arange(6.0) + 10 * np.arange(4)[:, np.newaxis]
    return Report("v", "v", values, RegularTimes(0.0, 1000.0, 4), table, Unit("volts", 1e-3), "v")


@pytest.fixture
def network():
    excitatory = PopulationSnapshot("exc", (2, 3), (Quantity("v", np.arange(6.0)),))
    inhibitory = PopulationSnapshot("inh", (4,), (Quantity("u", np.arange(4.0), kind="variable"),))
    projection = ProjectionSnapshot(
        "inh_to_exc",
        np.array([0, 4]),
        np.array([2, 3]),
        np.array([0, 3, 1]),
        (Quantity("w", np.array([0.1, 0.2, 0.4])), Quantity("tau", np.array(3.0), "global")),
        pre="inh",
        post="exc",
        weight="w",
    )
    return NetworkSnapshot("state", (excitatory, inhibitory), (projection,), time=0.1)


def test_a_trace_is_the_recorded_one_in_millivolts(output, ax):
    report = output["v_exc"]

    plots.traces(report, cells=3, numbers=0, start=0.01, ax=ax)

    (line,) = ax.lines
    np.testing.assert_allclose(
        line.get_ydata(), 1e3 * report.get_traces(3, 0, start=0.01)[:, 0], rtol=1e-6
    )
    np.testing.assert_allclose(line.get_xdata()[0], 10.0)
    assert ax.get_xlabel() == "time (ms)"
    assert ax.get_ylabel() == "v (mV)"
    assert ax.get_title(loc="left") == "v_exc, population exc\ncell 3: 0"


def test_the_title_of_traces_says_how_many_are_shown(output, ax):
    plots.traces(output, ax=ax)

    assert len(ax.lines) == 8 + 1
    assert "8 of 139 compartments" in ax.get_title(loc="left")
    assert ax.get_yticklabels()[0].get_text() == "cell 0: 0"


def test_a_series_in_memory_can_be_drawn(ax):
    table = Compartments.from_arrays(number=[0, 1], counts=[1, 1], id=[7, 3])
    series = CompartmentSeries("v", np.ones((5, 2)), compartments=table, unit="mV", rate=10.0)

    plots.traces(series, overlay=True, ax=ax)

    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cell 7", "cell 3"]
    assert ax.get_ylabel() == "v (mV)"


def test_a_heat_map_has_the_values_and_names_cells(output, ax):
    report = output["v_inh"]

    plots.heat_map(report, cells=[102, 100], stop=0.002, ax=ax)

    (image,) = ax.images
    expected = 1e3 * report.get_traces([102, 100], stop=0.002).T
    np.testing.assert_allclose(image.get_array(), expected, rtol=1e-6)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["102", "100"]
    assert image.get_extent()[:2] == pytest.approx([0.0, 2.0])
    assert image.colorbar.ax.get_ylabel() == "v (mV)"


def test_a_raster_has_a_mark_for_each_spike(output, ax):
    spikes = output.spikes[0]

    plots.raster(spikes, ax=ax)

    (marks,) = ax.lines
    np.testing.assert_allclose(np.sort(marks.get_xdata()), np.sort(1e3 * spikes.times))
    assert set(marks.get_ydata()) == set(spikes.node_ids)
    assert f"{len(spikes.times)} spikes" in ax.get_title(loc="left")


def test_many_spikes_are_an_image_of_counts(ax):
    rng = np.random.default_rng(0)
    spikes = Spikes("net", rng.integers(0, 3000, 50_000), rng.uniform(0, 10, 50_000))

    plots.raster(spikes, ax=ax)

    (image,) = ax.images
    assert image.get_array().sum() == 50_000
    assert image.colorbar.ax.get_ylabel() == "spikes per pixel"
    assert ax.get_xlabel() == "time (s)"


def test_the_title_of_rates_says_which_cells_are_averaged(output, ax):
    plots.rates(output, bin_width=0.01, ax=ax)

    cells = len(np.unique(output.spikes[0].node_ids))
    assert f"mean of {cells} cells that spike" in ax.get_title(loc="left")


def test_channels_are_drawn_above_each_other(output, ax):
    potential = output.potentials[0]

    plots.channels(potential, ids=[2, 0], ax=ax)

    step = float(np.ptp(potential.data[:, [2, 0]], axis=0).max())
    for place, (line, channel) in enumerate(zip(ax.lines[:-1], [2, 0], strict=True)):
        values = potential.data[:, channel]
        middle = (values.max() + values.min()) / 2
        np.testing.assert_allclose(line.get_ydata(), (values - middle) / step + place, atol=1e-9)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2", "0"]
    with pytest.raises(NothingRecordedError, match="channel 9 is not among the 4"):
        plots.channels(potential, ids=9)


def points_of(lines):
    """Return the points of lines in space; matplotlib has no public way to read them."""
    return lines._segments3d  # noqa: SLF001


def test_a_neuron_has_the_colour_of_its_value_in_each_compartment(branched, space):
    plots.neuron(branched, at=0.0021, ax=space)

    lines, spots = space.collections
    np.testing.assert_allclose(lines.get_array(), [20, 21, 22, 23, 24])
    np.testing.assert_allclose(spots.get_array(), [25])
    assert lines.get_clim() == pytest.approx((20, 25))
    np.testing.assert_allclose(points_of(lines)[0], [[-5, 0, 0], [0, 0, 0], [5, 0, 0]])
    np.testing.assert_allclose(points_of(lines)[1], [[5, 0, 0], [10, 0, 0], [15, 0, 0]])
    assert space.get_title(loc="left") == "v, population net, at 2 ms\ncell 7"
    assert [text.get_text() for text in space.texts] == ["10 µm", "x", "y", "z"]


def test_a_neuron_needs_coordinates_and_3d_axes(branched, ax, space):
    columns = {"number": branched.compartments.columns["number"]}
    bare = replace(branched, compartments=replace(branched.compartments, columns=columns))
    with pytest.raises(NothingRecordedError, match="no coordinates: expected columns x, y and z"):
        plots.neuron(bare, ax=space)
    with pytest.raises(ShapeMismatchError, match="three dimensions"):
        plots.neuron(branched, ax=ax)
    with pytest.raises(CellNotFoundError, match="cell 8"):
        plots.neuron(branched, cells=8, ax=space)


def pixels_of(ax, points):
    """Return where points in space (point, 3) are in the figure, in pixels (point, 2)."""
    x, y, _ = proj3d.proj_transform(*np.transpose(points), ax.get_proj())
    return ax.transData.transform(np.column_stack([x, y]))


@pytest.mark.parametrize(
    "spans", [(1, 1, 1), (1, 1, 4), (1, 1, 50), (1, 3, 3), (3, 1, 3), (3, 3, 0), (1, 9, 0)]
)
def test_neurons_with_their_scale_bar_fill_the_axes(branched, spans):
    spread = np.array([0, 1, 2, 2, 1, 0]) * 50.0
    orders = [0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0], [3, 2, 1, 0, 5, 4]
    xyz = {
        axis: span * spread[order] for axis, span, order in zip("xyz", spans, orders, strict=True)
    }
    columns = {**branched.compartments.columns, **xyz}
    shaped = replace(branched, compartments=replace(branched.compartments, columns=columns))
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    ax = plots.neuron(shaped, ax=figure.add_subplot(projection="3d"))

    figure.draw_without_rendering()

    texts = [text.get_position_3d() for text in ax.texts]
    corners = pixels_of(ax, [*np.concatenate(points_of(ax.collections[0])), *texts])
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    room = 8  # pixels for half of a text
    assert (low >= room).all()
    assert (high <= figure.bbox.max - room).all()
    assert max(high - low) > 0.75 * ax.bbox.height
    assert np.subtract(*pixels_of(ax, [[0, 1, 0], [0, 0, 0]]))[1] > 0


def two_crossing_lines() -> Report:
    """Return sections along x and y that cross; the first is nearer to who sees them along z."""
    xyz = {"x": [-5.0, 5, 0, 0], "y": [0.0, 0, -5, 5], "z": [0.1, 0.1, 0, 0]}
    columns = {"number": [0, 0, 1, 1], "position": [0.25, 0.75] * 2, "diameter": [2.0, 2, 4, 4]}
    columns = {name: np.array(values) for name, values in {**columns, **xyz}.items()}
    table = CompartmentTable.from_counts("net", [3], [4], columns)
    data = np.array([[0.0, 1, 2, 3]] * 2)
    return Report("v", "v", data, RegularTimes(0.0, 1e3, 2), table, Unit("volts"), "v")


@pytest.mark.parametrize(("elev", "first"), [(90, [2, 3]), (-90, [0, 1])])
def test_near_lines_are_drawn_over_far_ones_in_their_colours(space, elev, first):
    plots.neuron(two_crossing_lines(), ax=space)
    space.view_init(elev=elev, azim=-90)

    space.figure.draw_without_rendering()

    (lines,) = space.collections
    assert sorted(lines.get_array()[:2]) == first
    assert (
        points_of(lines)[0].tolist()
        == {2: [[0, -10, 0], [0, -5, 0], [0, 0, 0]], 0: [[-10, 0, 0.1], [-5, 0, 0.1], [0, 0, 0.1]]}[
            first[0]
        ]
    )


def test_lines_have_the_scale_of_the_scale_bar(space):
    plots.neuron(two_crossing_lines(), ax=space)

    space.figure.draw_without_rendering()

    (bar,) = [line for line in space.lines if line.get_label() == "_scale"]
    length = float(space.texts[0].get_text().removesuffix(" µm"))
    ends = pixels_of(space, np.transpose(bar.get_data_3d()))
    points = np.linalg.norm(ends[1] - ends[0]) * 72 / space.figure.dpi
    (lines,) = space.collections
    np.testing.assert_allclose(np.unique(lines.get_linewidth()), np.array([2, 4]) * points / length)


def test_currents_have_colours_around_zero_and_outliers_are_beyond(space):
    values = np.concatenate([np.linspace(-2, 1, 999), [500.0]])[None]
    table = CompartmentTable.from_cells("net", np.arange(1000))
    places = {name: np.arange(1000.0) for name in "xyz"}
    table = replace(table, columns={**table.columns, **places})
    times = RegularTimes(0.0, 1e3, 1)
    report = Report("i", "i_membrane", values, times, table, Unit("amperes", 1e-9), "i_membrane")

    plots.neuron(report, ax=space)

    low, high = space.collections[0].get_clim()
    assert low == -high
    assert 1 < high < 3
    assert space.collections[0].get_cmap().colorbar_extend == "max"


def test_of_several_reports_the_membrane_potential_is_drawn_in_space(branched, space):
    current = replace(branched, report="i_membrane", name="i_membrane", unit=Unit("amperes"))

    plots.neuron(SimulationOutput(reports=(current, branched)), ax=space)

    assert space.get_title(loc="left").startswith("v, population net")


def test_flat_neurons_are_seen_from_above(branched, space):
    columns = {**branched.compartments.columns, "z": np.zeros(6)}
    flat = replace(branched, compartments=replace(branched.compartments, columns=columns))

    plots.neuron(flat, ax=space)

    assert (space.elev, space.azim) == (90, -90)


NEUROML = """<neuroml><cells><cell name="c"><segments>
<segment id="0" name="a" cable="0"><proximal x="0" y="0" z="0" diameter="2"/>
<distal x="0" y="8" z="0" diameter="2"/></segment>
<segment id="1" name="b" cable="1"><proximal x="0" y="8" z="0" diameter="1"/>
<distal x="9" y="8" z="0" diameter="1"/></segment></segments>
<cables><cable id="0" name="soma"/><cable id="1" name="dend"/></cables></cell></cells></neuroml>"""


def test_sections_of_a_morphology_are_drawn_grey_if_not_recorded(space):
    columns = {"number": np.array([0]), "x": np.zeros(1), "y": np.full(1, 4.0), "z": np.zeros(1)}
    table = CompartmentTable.from_counts("cells", np.array([0]), np.array([1]), columns)
    times, facts = RegularTimes(0, 1e3, 2), {"format": "Neuronvisio"}
    report = Report("v", "v", np.ones((2, 1)), times, table, Unit("volts"), provenance=facts)

    plots.neuron(SimulationOutput((report,), run=Run(morphology=NEUROML)), ax=space)

    (lines,) = space.collections
    np.testing.assert_allclose(points_of(lines)[0], [[0, 0, 0], [0, 8, 0]])
    np.testing.assert_allclose(points_of(lines)[1], [[0, 8, 0], [9, 8, 0]])
    assert np.ma.getmaskarray(lines.get_array()).tolist() == [False, True]
    assert lines.get_cmap().get_bad() == pytest.approx(to_rgba(LIGHT.nan))


def test_an_animation_has_the_requested_number_of_frames(branched, tmp_path):
    from PIL import Image

    path = plots.save_animation(branched, tmp_path / "v.gif", frames=3)

    with Image.open(path) as image:
        assert image.n_frames == 3
    with pytest.raises(TargetExistsError, match=r"v\.gif exists already"):
        plots.save_animation(branched, path)
    assert [found.name for found in tmp_path.iterdir()] == ["v.gif"]


@pytest.mark.skipif(which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_an_animation_can_be_an_mp4(branched, tmp_path):
    path = plots.save_animation(branched, tmp_path / "v.mp4", frames=3)

    assert path.read_bytes()[4:8] == b"ftyp"
    assert [found.name for found in tmp_path.iterdir()] == ["v.mp4"]


def test_an_mp4_needs_ffmpeg(branched, tmp_path, monkeypatch):
    from matplotlib import animation

    monkeypatch.setattr(animation.FFMpegWriter, "isAvailable", lambda: False)

    with pytest.raises(MissingDependencyError, match=r"needs ffmpeg.*a \.gif does not need it"):
        plots.save_animation(branched, tmp_path / "v.mp4")
    with pytest.raises(ExportError, match=r"\.gif or \.mp4"):
        plots.save_animation(branched, tmp_path / "v.png")
    assert list(tmp_path.iterdir()) == []


def test_a_weight_matrix_has_each_weight_at_its_ranks(network, ax):
    plots.weight_matrix(network, ax=ax)

    (image,) = ax.images
    shown = np.ma.filled(image.get_array(), np.nan)
    assert shown.shape == (5, 4)
    assert (shown[0, 0], shown[0, 3], shown[4, 1]) == (0.1, 0.2, 0.4)
    assert np.count_nonzero(np.isfinite(shown)) == 3
    assert ax.get_title(loc="left") == "projection inh_to_exc, inh to exc, at 0.1 s\n3 synapses"


def test_a_histogram_of_weights_counts_synapses(network, ax):
    plots.weights(network, bins=2, ax=ax)

    (steps,) = ax.patches
    assert steps.get_data().values.tolist() == [2, 1]
    with pytest.raises(NothingRecordedError, match="no 'tau' for each synapse; it has: w"):
        plots.weights(network, quantity="tau")
    with pytest.raises(NothingRecordedError, match="no projection 'other'; it has: inh_to_exc"):
        plots.weights(network, "other")


def a_grid_and_its_targets() -> NetworkSnapshot:
    """Return a grid of 2 × 3 neurons and what cells 4 and 7 receive from it, and 7 from both."""
    grid = PopulationSnapshot("lgn", (2, 3), (Quantity("r", np.arange(6.0)),))
    pre, post, weights = [5, 0, 2, 2, 0], [7, 4, 4, 4, 7], [0.5, -0.1, 0.2, 0.4, 0.3]
    to_v1 = ProjectionSnapshot.from_synapses(
        "lgn_v1", pre, post, {"w": weights}, pre="lgn", post="v1", weight="w"
    )
    shared = (Quantity("w", np.array(0.25), "shared"),)
    in_v1 = ProjectionSnapshot("v1_v1", [7], [2], [1, 3], shared, "v1", "v1", weight="w")
    return NetworkSnapshot("end", (grid,), (to_v1, in_v1))


def test_what_a_cell_receives_is_drawn_on_the_grid_of_the_senders(ax):
    plots.weight_matrix(a_grid_and_its_targets(), cells=4, ax=ax)

    (image,) = ax.images
    shown = np.ma.filled(image.get_array(), np.nan)
    np.testing.assert_allclose(shown, [[-0.1, np.nan, 0.3], [np.nan] * 3])
    assert ax.get_title("left").endswith("lgn to v1\ncell 4 receives 3 synapses")
    assert ax.get_aspect() == 1
    assert image.norm.vmin == -image.norm.vmax


@pytest.mark.parametrize("shape", [(5, 4), (9, 1), (1, 9)])
def test_a_grid_fills_its_axes(ax, shape):
    values = Quantity("r", np.arange(float(np.prod(shape))))

    plots.population_state(
        NetworkSnapshot("s", (PopulationSnapshot("p", shape, (values,)),)), ax=ax
    )

    assert ax.get_xlim() == (-0.5, shape[1] - 0.5)
    assert ax.get_ylim() == (-0.5, shape[0] - 0.5)


def test_what_several_cells_receive_is_drawn_side_by_side(ax):
    plots.weight_matrix(a_grid_and_its_targets(), cells=[7, 4], ax=ax)

    (image,) = ax.images
    assert [text.get_text() for text in ax.texts] == ["cell 4", "cell 7"]
    shown = np.ma.filled(image.get_array(), np.nan)
    assert sorted(shown[np.isfinite(shown)]) == pytest.approx([-0.1, 0.3, 0.3, 0.5])


def test_of_many_cells_the_first_receptive_fields_are_drawn(ax):
    cells, grid = np.arange(100), PopulationSnapshot("lgn", (2, 3))
    projection = ProjectionSnapshot.from_synapses("p", cells % 6, cells, {"w": cells}, pre="lgn")
    network = NetworkSnapshot("end", (grid,), (replace(projection, weight="w"),))

    plots.weight_matrix(network, cells=cells, ax=ax)

    assert len(ax.texts) == 64
    note = " ".join(ax.get_title("left").split())
    assert note.endswith("receive (the first 64 are shown) 64 synapses")


def test_what_cells_without_a_grid_receive_is_drawn_by_rank(ax):
    plots.weight_matrix(a_grid_and_its_targets(), "v1_v1", cells=7, ax=ax)

    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [np.nan, 0.25, np.nan, 0.25])
    assert ax.get_xlabel() == "presynaptic rank in v1"


def test_cells_of_a_network_are_selected_by_their_rank():
    run = SimulationOutput(networks=(a_grid_and_its_targets(),))

    of_4, of_7 = (plots.draw(run, "weights", PictureOptions(cells=[cell])) for cell in (4, 7))

    titles = [[ax.get_title("left") for ax in figure.axes] for figure in (of_4, of_7)]
    assert [len(one) for one in titles] == [1, 2]
    assert titles[1][1].endswith("cell 7 receives w of 2 synapses, all equal")
    assert of_7.axes[1].patches[0].get_data().values.sum() == 2
    with pytest.raises(CellNotFoundError, match=r"no cells \(--cells\) 3; it has: 4, 7"):
        plots.draw(run, "matrix", PictureOptions(cells=[3]))
    with pytest.raises(CellNotFoundError, match=r"neuron 3 receives no synapses of .* at: 4, 7"):
        plots.weight_matrix(run, cells=3)


def test_a_grid_of_three_dimensions_is_drawn_as_planes(ax):
    values = Quantity("r", np.arange(24.0))
    cube = PopulationSnapshot("cube", (2, 3, 4), (values,))

    plots.population_state(NetworkSnapshot("end", (cube,)), ax=ax)

    assert [text.get_text() for text in ax.texts] == ["0", "1"]
    shown = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(np.unique(shown[np.isfinite(shown)]), np.arange(24))


def test_values_of_a_state_are_drawn_with_their_unit(ax):
    cells = PopulationSnapshot("exc", (2,), (Quantity("V_m", [-70.0, -65.0], unit="mV"),))

    plots.population_state(NetworkSnapshot("end", (cells,)), ax=ax)

    assert ax.get_ylabel() == "V_m (mV)"


def test_a_population_is_drawn_on_its_grid(network, ax):
    plots.population_state(network, "exc", ax=ax)

    np.testing.assert_array_equal(ax.images[0].get_array(), [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(NothingRecordedError, match="no 'x' for each neuron; it has: v"):
        plots.population_state(network, "exc", "x")


def test_an_array_of_two_dimensions_is_an_image_along_its_axes(ax):
    axes = GridAxis("x", "mm", np.array([0.0, 1.0])), GridAxis("t", "s", np.array([0.0, 1.0, 3.0]))
    grid = Grid("scan", "signal", "V", np.arange(6.0).reshape(2, 3), axes)

    plots.array(grid, ax=ax)

    (mesh,) = ax.collections
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), np.arange(6.0))
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [-0.5, 0.5, 2, 4])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("t (s)", "x (mm)")
    assert mesh.colorbar.ax.get_ylabel() == "signal (V)"


def test_a_scan_along_a_path_is_drawn_as_points(ax):
    points = GridAxis("x", "mm", np.array([0.0, 1.0])), GridAxis("y", "um", np.array([5.0, 2.0]))
    grid = Grid("scan", "signal", "V", np.array([3.0, 4.0]), points[:1], points)

    plots.array(grid, ax=ax)

    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[0, 5], [1, 2]])
    np.testing.assert_array_equal(ax.collections[0].get_array(), [3, 4])


@pytest.mark.parametrize("count", [5, 1000])
def test_errors_are_bars_or_a_band(ax, count):
    x, errors = np.linspace(0, 1, count), np.linspace(1, 2, count)
    axes = (GridAxis("x", "mm", x),)

    plots.array(Grid("scan", "s", "V", 10 * x, axes, errors=errors), ax=ax)

    (drawn,) = ax.collections
    corners = np.concatenate([path.vertices for path in drawn.get_paths()])
    assert len(drawn.get_paths()) == (5 if count == 5 else 1)
    assert (corners[:, 1].min(), corners[:, 1].max()) == (-1, 12)


def test_a_value_is_printed_with_its_error(ax):
    plots.array(Grid("g", "T", "K", np.array([3.2]), (), errors=np.array([0.1])), ax=ax)

    assert ax.texts[0].get_text() == "T: 3.2 ± 0.1 K"


@pytest.mark.parametrize(("unit", "aspect"), [("mm", 1.0), ("um", "auto"), ("", "auto")])
def test_lengths_in_one_unit_have_one_scale(ax, unit, aspect):
    axes = [GridAxis(name, one, np.arange(3.0)) for name, one in (("y", unit), ("x", "mm"))]
    axes = [replace(axis, unit=unit and axis.unit) for axis in axes]

    plots.array(Grid("scan", "s", "V", np.eye(3), tuple(axes)), ax=ax)

    assert ax.get_aspect() == aspect


def test_an_array_has_the_names_of_its_titles(ax):
    shown = Grid("/Raw/CH00", "a$b", "V", np.arange(3.0), (GridAxis("x$", "", np.arange(3.0)),))

    plots.array(replace(shown, titles=("power", "Meter", "data")), ax=ax)
    names = (ax.get_title("left"), ax.get_xlabel(), ax.get_ylabel())
    ax.clear()
    plots.array(replace(shown, label="CH00 (error)", titles=("power",)), ax=ax)
    assert ax.get_ylabel() == "power (error) (V)"
    ax.clear()
    plots.array(shown, ax=ax)

    assert names == ("power, Meter\nRaw/CH00", "x$", "a$b (V)")
    assert ax.get_title("left") == "Raw/CH00"
    ax.figure.savefig(io.BytesIO())


def test_an_unordered_axis_is_drawn_by_index(ax):
    axes = GridAxis("x", "mm", np.array([0.0, 5.0, 1.0])), GridAxis("t", "s", np.arange(2.0))

    plots.array(Grid("scan", "signal", "V", np.zeros((3, 2)), axes), ax=ax)

    assert ax.get_ylabel() == "index of x"


def test_axes_of_any_numbers_are_drawn_in_their_order(ax):
    def drawn(values, at):
        ax.clear()
        axes = (ArrayAxis("x", at, unit="mm"),)
        (grid,) = group_grids(ArrayGroup("g", (ArrayWithAxes("a", values),), axes))
        plots.array(grid, ax=ax)
        return ax

    many = np.arange(6000.0)
    assert drawn(many, np.linspace(4000, 400, 6000)).get_xlabel() == "x (mm)"
    np.testing.assert_array_equal(ax.lines[0].get_xdata()[[0, -1]], [4000, 400])
    assert drawn(many, np.arange(6000, 0, -1, np.uint16)).get_xlabel() == "x (mm)"
    assert drawn(many, np.sin(many)).get_xlabel() == "index of x"
    assert drawn(np.zeros((3, 2)), np.array([3, 1, 2], np.uint8)).get_ylabel() == "index of x"
    assert drawn(np.zeros((2, 3)), np.array([-100, 100], np.int8)).get_ylim() == (-200, 200)
    assert drawn(np.zeros((2, 3)), np.array([False, True])).get_ylabel() == "x (mm)"


def test_without_axes_a_new_figure_is_made(output):
    from matplotlib import pyplot as plt

    ax = plots.traces(output["v_exc"])

    assert plt.gcf() is ax.figure


def test_an_overview_has_a_plot_of_each_thing_recorded(output, network):
    figure = plots.draw(replace(output, networks=(network,)))

    titles = [ax.get_title(loc="left") for ax in figure.axes]
    for what in ("spikes, population exc", "v_inh", "ecp", "projection inh_to_exc", "u of inh"):
        assert any(title.startswith(what) for title in titles), what


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_kind_is_refused_with_a_list_of_contents(kind):
    spikes = Spikes("net", np.zeros(1, np.int64), np.zeros(1))
    report = simulate(duration=0.001)["v_inh"]
    wrong = kind in {"raster", "rates"}
    only = SimulationOutput(reports=(report,)) if wrong else SimulationOutput(spikes=(spikes,))
    there = "report v_inh of inh" if wrong else "spikes of net"

    with pytest.raises(
        NothingRecordedError, match=f"nothing to draw with kind='{kind}'; the output has: {there}"
    ):
        plots.draw(only, kind)


def test_a_window_without_values_is_refused(output, ax):
    for paint in (plots.traces, plots.heat_map, plots.channels):
        with pytest.raises(NothingRecordedError, match="has no values to draw"):
            paint(output, start=5.0, stop=6.0, ax=ax)
    message = r"start \(--time\) 5 s is outside of the recording, which has times from 0 to 0.03 s"
    with pytest.raises(NothingRecordedError, match=message):
        plots.draw(output, "heat", PictureOptions(start=5.0))


def test_a_selection_chooses_by_name_variable_and_population(output):
    def names(**chosen):
        return [report.name for report in PictureOptions(**chosen).reports(output)]

    assert names(report="v_exc") == ["v_exc"]
    assert names(variable="v") == ["v_exc", "v_inh"]
    assert names(population="exc", variable="i_membrane") == ["i_membrane"]
    assert names(report="w") == []


def test_plots_of_an_nwb_file_are_those_of_its_source(output, tmp_path):
    from ndx_simulation_output import sonata

    sonata.write(output, tmp_path / "sonata")
    convert(tmp_path / "sonata", tmp_path / "run.nwb", metadata=SESSION)

    drawn = []
    for source in (tmp_path / "sonata", tmp_path / "run.nwb"):
        with open_output(source) as opened:
            figure = plots.draw(opened, "traces", PictureOptions(report="v_exc", cells=[3]))
        drawn.append([np.asarray(line.get_ydata()) for line in figure.axes[0].lines])

    for lines in zip(*drawn, strict=True):
        np.testing.assert_array_equal(*lines)
    with NWBHDF5IO(tmp_path / "run.nwb", "r") as io:
        series = io.read().acquisition["v_exc"]
        ax = plots.traces(series, cells=3)
        for line, expected in zip(ax.lines, drawn[0], strict=True):
            np.testing.assert_array_equal(line.get_ydata(), expected)


SESSION = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}


def test_a_file_is_written_completely_or_not_at_all(output, tmp_path):
    path = plots.save(output, tmp_path / "v.svg", "traces", PictureOptions(report="v_inh"))

    assert path.read_text().startswith("<?xml")
    with pytest.raises(TargetExistsError, match=r"v\.svg exists already"):
        plots.save(output, path)
    with pytest.raises(ExportError, match=r"ends in \.png, \.svg or \.pdf"):
        plots.save(output, tmp_path / "v.doc")
    with pytest.raises(NothingRecordedError, match="nothing to draw with kind='weights'"):
        plots.save(output, tmp_path / "w.png", "weights")
    assert [found.name for found in tmp_path.iterdir()] == ["v.svg"]


def test_without_matplotlib_the_extra_is_named(output, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[plot\]"):
        plots.draw(output)
    with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[plot\]"):
        plots.traces(output)


def test_all_panels_share_the_time_axis_of_the_run():
    report = simulate(duration=0.03)["v_exc"]
    late = replace(report, name="late", times=RegularTimes(0.05, 10_000.0, report.times.count))
    spikes = Spikes("net", np.array([1, 2]), np.array([0.02, 0.04]))
    run = SimulationOutput(reports=(report, late), spikes=(spikes,), run=Run(duration=0.1))

    for kind in (None, "traces", "heat", "raster", "rates"):
        for panel in plots.draw(run, kind).axes:
            if panel.get_xlabel():
                assert panel.get_xlabel() == "time (ms)"
                np.testing.assert_allclose(panel.get_xlim(), (0.0, 100.0))
    chosen = plots.draw(run, options=PictureOptions(start=0.01, stop=1.0))
    for panel in chosen.axes:
        np.testing.assert_allclose(panel.get_xlim(), (10.0, 100.0))
    (lines, *_) = plots.draw(SimulationOutput(reports=(report,))).axes
    assert len(lines.lines[0].get_xdata()) == report.times.count


def test_dark_is_many_in_an_image_of_counts(ax):
    rng = np.random.default_rng(0)
    plots.raster(Spikes("net", rng.integers(0, 900, 40_000), rng.uniform(0, 1, 40_000)), ax=ax)

    one, many = ax.images[0].cmap([0.0, 1.0])[:, :3].sum(axis=1)

    assert one > many


def test_complex_numbers_are_drawn_as_amplitude_and_phase():
    values = np.linspace(1, 2, 30) * np.exp(1j * np.linspace(0, 20, 30))
    arrays = (
        ArrayWithAxes("s", values, label="s", unit="V"),
        ArrayWithAxes("i", values[None] * 1j),
    )
    run = SimulationOutput(arrays=(ArrayGroup("lock-in", arrays),))

    amplitude, phase, *_ = plots.draw(run).axes

    assert amplitude.get_ylabel() == "amplitude of s (V)"
    assert phase.get_ylabel() == "phase of s (rad)"
    assert phase.get_title("left").endswith("phase of complex values")
    np.testing.assert_allclose(amplitude.lines[0].get_ydata(), np.abs(values))
    np.testing.assert_allclose(phase.lines[0].get_ydata(), np.angle(values))


def test_the_mean_of_phases_in_a_pixel_is_that_of_directions():
    phases = np.array([[np.pi - 0.1, -np.pi + 0.1]] * 2)
    *_, grid = grids_of(
        SimulationOutput(arrays=(ArrayGroup("g", (ArrayWithAxes("p", np.exp(1j * phases)),)),))
    )

    image, _, _ = grid.image((1, 1))

    np.testing.assert_allclose(np.abs(image), np.pi)


def instrument() -> SimulationOutput:
    times = ArrayAxis("t", np.arange(0.0, 5000.0, 100.0), label="time", unit="ms")
    trace = ArrayWithAxes("trace", np.arange(50.0), label="diode", unit="V")
    image = ArrayWithAxes("image", np.ones((4, 6)), label="camera", title="photons")
    return SimulationOutput(
        arrays=(
            ArrayGroup("Det0", (trace,), (times,)),
            ArrayGroup("Det1", (image,), title="Camera"),
        )
    )


def test_selections_apply_to_arrays_of_instruments():
    drawn = plots.draw(instrument(), options=PictureOptions(start=1.0, stop=2.0))
    only = plots.draw(instrument(), options=PictureOptions(report="Det1"))
    diode = plots.draw(instrument(), options=PictureOptions(variable="diode"))
    titles = [
        plots.draw(SimulationOutput(arrays=arrays), options=PictureOptions(report="Camera"))
        for arrays in (instrument().arrays, [ArrayGroup("Raw", groups=instrument().arrays)])
    ]
    titles += [plots.draw(instrument(), options=PictureOptions(variable="photons"))]

    np.testing.assert_array_equal(drawn.axes[0].lines[0].get_ydata(), np.arange(10.0, 20.0))
    assert not any(panel.images for panel in drawn.axes)
    assert [[len(panel.images) for panel in one.axes][:1] for one in (only, *titles)] == [[1]] * 4
    assert [len(panel.lines) for panel in diode.axes] == [1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"report": "Det2"},
            NothingRecordedError,
            r"no report \(--report\) 'Det2'; it has.*Det0",
        ),
        ({"variable": "w"}, NothingRecordedError, r"no variable \(--variable\) 'w'; it has: diode"),
        ({"population": "w"}, NothingRecordedError, r"no population .* 'w'; it has: none"),
        ({"cells": [1]}, CellNotFoundError, r"no cells \(--cells\) 1; it has: none"),
        ({"channels": [1]}, NothingRecordedError, r"no channels \(--channels\) 1; it has: none"),
        ({"start": 9.0}, NothingRecordedError, "9 s is outside .* has times from 0 to 4.9 s"),
        (
            {"start": 2.0, "stop": 1.0},
            SelectionError,
            "2.0 s and stop 1.0 s; expected start < stop",
        ),
        ({"start": np.nan}, SelectionError, "expected start < stop"),
        ({"report": "lamp"}, NothingRecordedError, "'lamp'; it has: .*Camera.*photons"),
    ],
)
def test_a_selection_that_matches_nothing_of_an_instrument_is_an_error(options, error, message):
    with pytest.raises(error, match=message):
        plots.draw(instrument(), options=PictureOptions(**options))


def test_panels_show_the_selected_cells_that_they_have(output):
    exc, inh = (spikes.node_ids[0] for spikes in output.spikes)

    figure = plots.draw(output, "traces", PictureOptions(cells=[int(exc), int(inh)]))

    assert {panel.get_title(loc="left").split("\n")[0] for panel in figure.axes} == {
        "i_membrane, population exc",
        "v_exc, population exc",
        "v_inh, population inh",
    }
    with pytest.raises(CellNotFoundError, match=r"no cells \(--cells\) 999; it has"):
        plots.draw(output, "traces", PictureOptions(cells=[int(exc), 999]))


def test_rates_and_rasters_are_of_the_selected_cells_of_their_population(output):
    exc, inh = (spikes.node_ids[0] for spikes in output.spikes)
    both = PictureOptions(cells=[int(exc), int(inh)])

    rates = plots.draw(output, "rates", both)
    one_raster = plots.draw(output, "raster", PictureOptions(cells=[int(exc)]))

    notes = [panel.get_title(loc="left").split("\n")[1] for panel in rates.axes]
    assert [note.split(",")[0] for note in notes] == ["mean of 1 selected cells"] * 2
    assert [panel.get_title(loc="left").split("\n")[0] for panel in one_raster.axes] == [
        "spikes, population exc"
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"numbers": [999]}, NothingRecordedError, r"no numbers .* 999; it has: 0, 1"),
        ({"labels": ["soma"]}, NothingRecordedError, "no labels soma; it has: none"),
        ({"numbers": []}, SelectionError, "numbers .* is empty; expected at least one of: 0, 1"),
        ({"cells": []}, SelectionError, "cells .* is empty; expected at least one of: 0, 1"),
        ({"channels": []}, SelectionError, "channels .* is empty; expected at least one of: 0, 1"),
    ],
)
def test_an_empty_selection_and_unknown_compartments_are_errors(output, options, error, message):
    with pytest.raises(error, match=message):
        plots.draw(output, options=PictureOptions(**options))


def test_panels_show_the_selected_compartments_that_they_have(branched):
    one = CompartmentTable.from_counts("n", np.array([7]), np.array([1]), {"number": np.zeros(1)})
    soma = Report("s", "s", np.ones((4, 1)), branched.times, one, branched.unit, "v")

    figure = plots.draw(
        SimulationOutput(reports=(branched, soma)), "traces", PictureOptions(numbers=[0, 2])
    )

    assert [len(panel.get_yticks()) for panel in figure.axes[:1]] == [4]
    assert [len(panel.lines) for panel in figure.axes] == [4 + 1, 1]


def test_spikes_at_one_time_have_a_window_of_a_millisecond():
    spikes = Spikes("n", np.arange(3), np.full(3, 0.5))

    (panel,) = plots.draw(SimulationOutput(spikes=(spikes,)), "rates").axes

    assert panel.get_xlim() == (500.0, 501.0)


@pytest.mark.parametrize(
    ("kind", "text"), [("matrix", "presynaptic rank in inh"), ("arrays", "time (ms)")]
)
def test_pictures_are_written_as_svg_with_text_and_as_pdf(network, tmp_path, kind, text):
    run = replace(instrument(), networks=(network,))

    svg, pdf = (plots.save(run, tmp_path / f"run.{end}", kind) for end in ("svg", "pdf"))

    assert f">{text}</text>" in svg.read_text()
    assert pdf.read_bytes().startswith(b"%PDF")
