"""Pictures say what they show: names, scales, bins and colours, and nothing covers the data."""

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest

from ndx_simulation_output import plots
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.plots import KINDS, PictureOptions
from ndx_simulation_output.plots.canvas import round_above, round_below
from ndx_simulation_output.plots.look import COLORS, LIGHT
from ndx_simulation_output.plots.spikes import spike_raster, spike_rates, whole_bins
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    CellTable,
    CompartmentTable,
    Electrodes,
    ExtracellularPotential,
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

LAYERS = np.array(["L6", "L2/3", "L6", "L4", "a layer with a name as long as this line is"], object)


@pytest.fixture(scope="module")
def run():
    return simulate(duration=0.03)


@pytest.fixture
def layered():
    """Five cells with layers, two compartments each, and spikes."""
    columns = {"number": np.tile([0, 1], 5)}
    table = CompartmentTable.from_counts(
        "net", np.arange(5), np.full(5, 2), columns, {"layer": LAYERS}
    )
    values = np.sin(np.arange(100)[:, np.newaxis] / 9 + np.arange(10))
    report = Report("v", "v", values, RegularTimes(0, 1e3, 100), table, Unit("volts", 1e-3), "v")
    spikes = Spikes("net", np.arange(5), np.linspace(0.01, 0.09, 5), cells=table.cells)
    return SimulationOutput((report,), (spikes,), run=Run(duration=0.1))


def texts_of(labels):
    return [label.get_text() for label in labels]


def note_of(panel):
    return panel.get_title(loc="left").partition("\n")[2]


def test_stacked_traces_have_names_and_a_bar_of_their_scale(run, ax):
    report = run["v_inh"]

    plots.traces(report, numbers=0, ax=ax)

    *lines, bar = ax.lines
    values = 1e3 * report.get_traces(numbers=0)
    heights = [float(np.ptp(line.get_ydata())) for line in lines]
    (label,) = texts_of(ax.texts)
    per_row = float(label.removesuffix(" mV")) / np.ptp(bar.get_ydata())
    np.testing.assert_allclose(heights, np.ptp(values, axis=0) / per_row, rtol=1e-6)
    assert texts_of(ax.get_yticklabels()) == ["cell 100: 0", "cell 101: 0", "cell 102: 0"]
    low, high = (
        f"{value:.4g}".replace("-", "\N{MINUS SIGN}") for value in (values.min(), values.max())
    )
    assert note_of(ax) == f"v {low} to {high} mV"


def test_traces_are_an_overlay_when_asked(run, ax):
    plots.traces(run["v_inh"], numbers=0, overlay=True, ax=ax)

    values = 1e3 * run["v_inh"].get_traces(numbers=0)
    for line, expected in zip(ax.lines, values.T, strict=True):
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    assert len(ax.get_legend().get_texts()) == 3
    assert len({line.get_color() for line in ax.lines}) == 3


def test_compartments_of_one_name_have_their_position(ax):
    columns = {"label": np.array(["soma", "dend", "dend"], object)}
    columns["position"] = np.array([0.5, 0.25, 0.75])
    table = CompartmentTable.from_counts("net", np.array([4]), np.array([3]), columns)
    report = Report("v", "v", np.eye(4, 3), RegularTimes(0, 1e3, 4), table, Unit("volts"))

    plots.traces(report, ax=ax)

    expected = ["cell 4: soma(0.5)", "cell 4: dend(0.25)", "cell 4: dend(0.75)"]
    assert texts_of(ax.get_yticklabels()) == expected


def test_of_many_names_those_with_room_are_shown(ax):
    table = CompartmentTable.from_cells("net", np.arange(200))
    report = Report("v", "v", np.eye(4, 200), RegularTimes(0, 1e3, 4), table, Unit("volts"))

    plots.traces(report, most=200, ax=ax)
    ax.figure.draw_without_rendering()

    shown = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert 10 < len(shown) < 50
    assert all(low.y1 <= high.y0 for low, high in pairwise(shown))


@pytest.mark.parametrize(
    ("columns", "positions", "names", "label"),
    [
        ({"label": np.array(["a", "b", "c"], object)}, [[0, 9, 0], [0, 1, 0], [0, 5, 0]],
         ["b", "c", "a"], "channel, by y"),
        ({"label": np.array(["a", "a", "c"], object)}, [[0, 9, 2], [0, 1, 0], [0, 5, 0]],
         ["7", "8", "9"], "channel"),
        ({}, [[np.nan] * 3] * 3, ["7", "8", "9"], "channel"),
    ],
)  # fmt: skip
def test_channels_have_the_names_of_the_file_and_are_sorted_by_depth(
    ax, columns, positions, names, label
):
    electrodes = Electrodes(np.arange(7, 10), np.array(positions, float), columns)
    lfp = ExtracellularPotential(
        "lfp", np.eye(5, 3), RegularTimes(0, 1e3, 5), np.arange(7, 10), Unit("volts"), electrodes
    )

    plots.channels(lfp, ax=ax)

    assert texts_of(ax.get_yticklabels()) == names
    assert ax.get_ylabel() == label


def test_a_heat_map_of_currents_has_colours_around_0_and_tells_of_outliers(ax):
    values = np.random.default_rng(0).uniform(-1, 1, (200, 40))
    values[7, 3] = 50
    table = CompartmentTable.from_cells("net", np.arange(40))
    report = Report("i", "i", 1e-9 * values, RegularTimes(0, 1e3, 200), table, Unit("amperes"))

    plots.heat_map(report, ax=ax)

    (image,) = ax.images
    low, high = image.get_clim()
    assert low == -high
    assert high == pytest.approx(1, abs=0.02)
    assert image.colorbar.extend == "max"
    assert image.cmap(0.5)[:3] == pytest.approx((0.96, 0.96, 0.95), abs=0.01)


def test_the_compartments_of_a_cell_are_sorted_and_outlined_by_section(ax):
    number = np.array([2, 0, 1, 2, 1])
    columns = {"number": number, "position": np.array([0.7, 0.5, 0.2, 0.3, 0.1])}
    columns["label"] = np.array(["soma", "dend[0]", "dend[1]"], object)[number]
    table = CompartmentTable.from_counts("net", np.array([4]), np.array([5]), columns)
    values = np.tile(np.arange(5.0), (4, 1))
    report = Report("v", "v", values, RegularTimes(0, 1e3, 4), table, Unit("volts"))

    plots.heat_map(report, ax=ax)

    assert ax.images[0].get_array()[:, 0].tolist() == [1, 4, 2, 3, 0]
    assert [line.get_ydata()[0] for line in ax.lines] == [1, 3]
    assert texts_of(ax.get_yticklabels()) == ["soma", "dend[0]", "dend[1]"]
    assert ax.get_ylabel() == "section of cell 4"


@pytest.mark.parametrize("value", [1, 1.99, 2, 3.37, 5, 9.99, 0.00337, 2e-7, 4.4e9])
def test_round_numbers_are_1_2_or_5_times_a_power_of_ten(value):
    below, above = round_below(value), round_above(value)

    assert below <= value * (1 + 1e-9)
    assert above >= value * (1 - 1e-9)
    assert above / below < 2.6
    for one in (below, above):
        assert f"{one:e}"[:8] in {"1.000000", "2.000000", "5.000000"}


def test_pixels_of_a_raster_are_round():
    rng = np.random.default_rng(0)
    spikes = Spikes("net", rng.integers(0, 997, 30_000), rng.uniform(0, 3.37, 30_000))

    found = spike_raster(spikes, start=0.0, stop=3.37, shape=(200, 700))

    np.testing.assert_allclose(np.diff(found.times), 0.005)
    assert set(np.diff(found.ids)) == {5}
    counts, *_ = np.histogram2d(spikes.node_ids, spikes.times, [found.ids, found.times])
    np.testing.assert_array_equal(found.counts, counts)


def test_bins_of_rates_around_all_spikes_are_whole():
    times = np.append(np.random.default_rng(0).uniform(1.013, 1.2, 500), [1.013, 1.2])
    spikes = Spikes("net", np.zeros(502, np.int64), times)

    found = spike_rates(spikes)

    np.testing.assert_allclose(np.diff(found.times), 0.005)
    assert found.counts.sum() == 502
    assert (found.times[0], found.times[-1]) == pytest.approx((1.01, 1.2))


@pytest.mark.parametrize(
    ("window", "bins"),
    [
        ((0.0, 0.3), (0.01, 0.0, 0.3)),
        ((1.7418, 2.7424), (0.05, 1.7, 2.75)),
        ((0.0, 5.0005), (0.1, 0.0, 5.0005)),
        ((1.7e9 + 0.25, 1.7e9 + 9), (0.2, 1.7e9 + 0.2, 1.7e9 + 9)),
    ],
)
def test_bins_are_whole_and_about_50(window, bins):
    assert whole_bins(*window) == pytest.approx(bins, rel=1e-15)


def test_panels_have_one_labelled_time_axis(layered):
    panels = plots.draw(layered).axes

    assert {panel.get_xlim() for panel in panels} == {(0, 100)}
    assert [panel.get_xlabel() for panel in panels] == ["", "time (ms)"]


def test_the_time_axis_of_a_run_far_longer_than_its_recordings_is_theirs(layered):
    long = replace(layered, run=Run(duration=1000.0))

    assert {panel.get_xlim() for panel in plots.draw(long).axes} == {(0, 100)}


def test_a_population_has_its_colour_in_all_panels(run):
    for kind in (None, "raster", "rates", "traces"):
        for panel in plots.draw(run, kind).axes:
            index = {"exc": 0, "inh": 1}.get(panel.get_title(loc="left").split("\n")[0][-3:])
            drawn = [*panel.lines[:-1], *panel.patches]
            if index is not None and kind != "rates":
                assert {line.get_color() for line in drawn} <= {COLORS[index]}


def test_cells_are_coloured_by_a_property_without_being_sorted(layered):
    raster, traces = plots.draw(layered, options=PictureOptions(color_by="layer")).axes

    rows = {line.get_color(): line.get_ydata().tolist() for line in raster.lines}
    assert rows == {COLORS[0]: [1], COLORS[1]: [3], COLORS[2]: [0, 2], COLORS[3]: [4]}
    names = {label.get_text().strip() for label in raster.get_legend().get_texts()}
    assert names >= {"L2/3 (1)", "L4 (1)", "L6 (2)"}
    colors = [line.get_color() for line in traces.lines[:-1]]
    assert colors == [COLORS[index] for index in (2, 0, 2, 1, 3)]


def test_an_image_of_counts_has_the_colour_of_each_row(ax):
    cells = CellTable("net", np.arange(4), {"kind": np.array(["a", "b", "a", "b"], object)})
    times = np.linspace(0, 1, 40_000)
    many = Spikes("net", np.tile(np.arange(4), 10_000), times, cells=cells)

    plots.raster(many, color_by="kind", ax=ax)

    red, _, blue = np.moveaxis(ax.images[0].get_array().min(axis=1), 1, 0)
    assert (red < blue).tolist() == [True, False, True, False]
    assert note_of(ax).endswith("× 1 id, by kind")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("heat", {"color_by": "layer"}, r"color_by \(--color-by\) does not apply to .* 'heat'"),
        ("traces", {"how": "max"}, r"how \(--pixel\) does not apply to a plot of kind 'traces'"),
        ("heat", {"overlay": True}, r"overlay \(--overlay\) does not apply"),
        (None, {"how": "max"}, r"does not apply to the overview; it applies to the kinds: heat"),
        (None, {"color_by": "layer", "group_by": "layer"}, "--group-by.* or .*--color-by.* both"),
        (None, {"color_by": "x"}, r"no cells have the property 'x' \(--color-by\); .*: layer"),
    ],
)
def test_options_that_do_not_apply_are_refused(layered, kind, options, message):
    with pytest.raises(SelectionError, match=message):
        plots.draw(layered, kind, PictureOptions(**options))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (None, {}),
        (None, {"group_by": "layer"}),
        (None, {"color_by": "layer"}),
        (None, {"color_by": "node_id"}),
        (None, {"group_by": "node_id"}),
        ("traces", {"overlay": True}),
        ("rates", {"group_by": "layer"}),
        ("heat", {"group_by": "layer"}),
        ("heat", {}),
    ],
)
def test_legends_and_scale_bars_are_beside_the_data_and_nothing_is_clipped(layered, kind, options):
    figure = plots.draw(layered, kind, PictureOptions(**options))

    figure.draw_without_rendering()

    inside = figure.bbox
    for panel in figure.axes:
        data = panel.get_window_extent()
        beside = [*panel.texts, *([panel.get_legend()] if panel.get_legend() else [])]
        boxes = [one.get_window_extent() for one in beside]
        assert all(box.x0 >= data.x1 for box in boxes)
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        written = [panel._left_title, panel.xaxis.label, panel.yaxis.label]  # noqa: SLF001
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            written += [tick.label1 for tick in ticks if tick.label1.get_visible()]
        boxes += [text.get_window_extent() for text in written if text.get_text()]
        for box in boxes:
            assert inside.x0 - 1 <= box.x0 <= box.x1 <= inside.x1 + 1
            assert inside.y0 - 1 <= box.y0 <= box.y1 <= inside.y1 + 1


def test_long_titles_are_broken(layered):
    long = "a_report_with_a_name_" * 8
    report = replace(layered.reports[0], name=long, report=long)

    figure = plots.draw(SimulationOutput((report, report), run=layered.run))
    figure.draw_without_rendering()

    for panel in figure.axes:
        box = panel._left_title.get_window_extent()  # noqa: SLF001 - there is no other way
        assert box.x1 <= figure.bbox.x1
        assert panel.get_title(loc="left").replace("\n", "").startswith(long)


@pytest.mark.parametrize("kind", [None, "heat", "rates", "neuron"])
def test_every_picture_can_be_svg_and_pdf(run, tmp_path, kind):
    svg = plots.save(run, tmp_path / "p.svg", kind)
    pdf = plots.save(run, tmp_path / "p.pdf", kind)

    root = ET.parse(svg).getroot()  # noqa: S314 - our own file
    words = "".join(root.itertext())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (" µm" if kind == "neuron" else "time (ms)") in words
    ground = root.find(".//{*}g[@id='patch_1']/{*}path").get("style")
    assert LIGHT.ground in ground
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")


def test_the_settings_of_the_caller_stay(run, ax):
    with mpl.rc_context({"xtick.labelcolor": "red", "axes.spines.top": True}):
        before = dict(mpl.rcParams)
        plots.traces(run, ax=ax)
        own = plots.traces(run)
        drawn = plots.draw(run)
        assert dict(mpl.rcParams) == before

    for figure in (own.figure, drawn):
        figure.draw_without_rendering()
        assert {tick.get_color() for tick in figure.axes[-1].get_xticklabels()} == {LIGHT.faint}
    assert ax.spines["top"].get_visible()
    assert not own.spines["top"].get_visible()


@pytest.mark.parametrize("kind", [None, *(kind for kind in KINDS if kind != "neuron")])
def test_names_and_units_are_neither_math_nor_longer_than_their_axes(kind):
    name = "$a_{b$ \\frac" + "x" * 300
    unit, ids = Unit(name, checked=False), np.arange(2)
    table = CompartmentTable.from_counts(name, ids, np.full(2, 2), {"label": [name] * 4})
    times = RegularTimes(0.0, 1000.0, 5)
    weight = Quantity(name, np.arange(2.0), unit=unit)
    grid, line = np.ones((5, 5)), np.arange(5.0)
    arrays = [ArrayWithAxes("a", one, label=name, unit=name) for one in (grid, line)]
    output = SimulationOutput(
        reports=(Report(name, name, grid[:, :4], times, table, unit, name),),
        spikes=(Spikes(name, ids, 0.01 * ids),),
        potentials=(ExtracellularPotential(name, grid[:, :2], times, ids, unit),),
        networks=(
            NetworkSnapshot(
                name,
                (PopulationSnapshot(name, (2,), (weight,)),),
                (ProjectionSnapshot(name, ids, ids + 1, ids, (weight,), weight=name),),
            ),
        ),
        arrays=(ArrayGroup("g", tuple(arrays), (ArrayAxis("x", line, name, name),)),),
    )
    figure = plots.draw(output, kind)
    figure.savefig(io.BytesIO())
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        assert len(axis.get_label_text()) < 120


def test_a_projection_without_synapses_is_an_empty_matrix():
    none = np.zeros(0, int)
    weight = Quantity("w", np.zeros(0))
    projection = ProjectionSnapshot("p", none, none, none, (weight,), weight="w")
    output = SimulationOutput(networks=(NetworkSnapshot("n", (), (projection,)),))
    axes = plots.draw(output, "matrix").axes

    assert axes[0].get_title("left").endswith("0 synapses")
    assert axes[0].images[0].get_array().mask.all()
