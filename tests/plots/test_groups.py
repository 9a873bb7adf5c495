"""Plots group cells by their properties."""

from dataclasses import replace

import numpy as np
import pytest

from ndx_simulation_output import plots
from ndx_simulation_output.errors import CellNotFoundError, NothingRecordedError, SelectionError
from ndx_simulation_output.plots.groups import group_cells
from ndx_simulation_output.plots.look import COLORS, MISSING_COLOR
from ndx_simulation_output.plots.selection import PictureOptions
from ndx_simulation_output.plots.spikes import rate_report
from ndx_simulation_output.recording import (
    Categories,
    CellTable,
    Circuit,
    CompartmentTable,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
    Unit,
)

IDS = np.array([40, 10, 30, 20, 50])
LAYERS = Categories(np.array([1, 0, 1, -1, 0]), ("L10", "L2", "never"))
PLACES = {"x": np.arange(5.0), "y": 10 * np.arange(5.0), "z": np.full(5, 3.0)}


@pytest.fixture
def cells():
    """Cells 40 and 30 in L2, 10 and 50 in L10, 20 in no layer."""
    return CellTable("net", IDS, {"layer": LAYERS, "n": np.arange(5), **PLACES})


@pytest.fixture
def report(cells):
    """Two compartments a cell; values are ids, plus 1000 in the second compartment."""
    columns = {"number": np.tile([0, 1], 5)}
    sets = {"deep": {"layer": "L10"}}
    table = CompartmentTable.from_counts("net", IDS, np.full(5, 2), columns, cells.columns)
    values = np.tile(np.repeat(IDS, 2) + 1000.0 * columns["number"], (4, 1))
    times = RegularTimes(0.0, 1000.0, 4)
    table = replace(table, node_sets=sets)
    return Report("v", "v", values, times, table, Unit("volts", 1e-3), "v")


@pytest.fixture
def spikes(cells):
    """Cell 30 spikes three times, cell 10 once, cell 99 of no table once, others never."""
    times = np.array([0.01, 0.02, 0.05, 0.09, 0.1])
    return Spikes("net", np.array([30, 30, 10, 99, 30], np.uint64), times, cells=cells)


@pytest.fixture
def output(report, spikes):
    return SimulationOutput(reports=(report,), spikes=(spikes,))


def names_of(panel):
    return [text.get_text().strip() for text in panel.get_legend().get_texts()]


def note_of(panel):
    return panel.get_title(loc="left").split("\n")[1]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (LAYERS, ["L2 (2)", "L10 (2)", "missing (1)"]),
        (np.array([10.0, np.nan, 2.0, 2.5, 2.0]), ["2 (2)", "2.5 (1)", "10 (1)", "missing (1)"]),
        (np.array(["b", "", None, "_a", "NA"], object), ["(empty) (1)", "NA (1)", "_a (1)",
                                                          "b (1)", "missing (1)"]),
        (np.array([True, False, True, True, True]), ["False (1)", "True (4)"]),
        (np.full(5, np.nan), ["missing (5)"]),
    ],
)  # fmt: skip
def test_groups_are_in_the_order_of_their_values_and_missing_is_the_last(values, labels):
    assert group_cells(CellTable("net", IDS, {"layer": values}), "layer").labels == labels


def test_the_smallest_of_many_groups_are_joined():
    values = np.repeat([f"m{number}" for number in range(1, 41)], np.arange(40) + 1)
    table = CellTable("net", np.arange(len(values)), {"mtype": values.astype(object)})

    found = group_cells(table, "mtype", np.append(np.arange(len(values)), 10**6))

    assert found.names == (*(f"m{number}" for number in range(31, 41)), "other", "missing")
    assert found.counts.tolist() == [*range(31, 41), 465, 1]
    assert found.note == "by mtype, the 10 largest of 40 groups"
    assert len(set(found.colors)) == len(COLORS) + 2


def test_few_traces_have_the_colours_of_their_groups(report, ax):
    plots.traces(report, group_by="layer", overlay=True, ax=ax)

    drawn = {float(line.get_ydata()[0]): line.get_color() for line in ax.lines}
    l2, l10 = COLORS[:2]
    assert drawn == {30: l2, 40: l2, 10: l10, 50: l10, 20: MISSING_COLOR}
    assert names_of(ax) == ["L2 (2)", "L10 (2)", "missing (1)"]
    assert ax.get_title(loc="left") == "v, population net\n5 cells, a compartment each, by layer"


def test_many_traces_are_the_means_of_their_groups(report, ax):
    plots.traces(report, group_by="layer", most=3, ax=ax)

    assert note_of(ax) == "mean of 5 cells, a compartment each, by layer"
    assert [line.get_ydata()[2] for line in ax.lines] == pytest.approx([35, 30, 20])
    assert names_of(ax) == ["L2 (n = 2)", "L10 (n = 2)", "missing (n = 1)"]


def test_means_are_those_of_all_times_and_skip_nan(report, ax):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5000, 10)).astype("f4")
    values[::7, 4] = np.nan
    long = replace(report, data=values, times=RegularTimes(0.0, 1000.0, 5000))

    plots.traces(long, {"layer": "L2"}, [0, 1], group_by="layer", most=0, ax=ax)

    (line,) = ax.lines
    mean = 1e3 * np.nanmean(1e-3 * values[:, [0, 1, 4, 5]].astype("f8"), axis=1)
    assert line.get_ydata().max() == pytest.approx(mean.max(), rel=1e-5)
    assert line.get_ydata().min() == pytest.approx(mean.min(), rel=1e-5)
    assert names_of(ax) == ["L2 (n = 4)"]
    assert note_of(ax) == "mean of 4 compartments by layer"


def test_a_heat_map_is_sorted_by_group(report, ax):
    plots.heat_map(report, numbers=0, group_by="layer", ax=ax)

    assert ax.images[0].get_array()[:, 0].tolist() == [40, 30, 10, 50, 20]
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "L2 (2)", "L10 (2)", "missing (1)",
    ]  # fmt: skip
    assert ax.get_yticks().tolist() == [1, 3, 4.5]
    assert ax.get_ylim() == (5, 0)
    assert note_of(ax) == "by layer"


def test_a_raster_is_sorted_and_coloured_by_group_with_silent_cells(spikes, ax):
    plots.raster(spikes, group_by="layer", ax=ax)

    marks = {line.get_color(): line.get_ydata().tolist() for line in ax.lines if
             line.get_linestyle() == "None"}  # fmt: skip
    assert marks == {COLORS[0]: [0] * 3, COLORS[1]: [2], MISSING_COLOR: [5]}
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "L2 (2)", "L10 (2)", "missing (2)",
    ]  # fmt: skip
    assert note_of(ax) == "5 spikes, by layer"


def test_an_image_of_many_spikes_has_the_colours_of_groups(cells, ax):
    ids = np.repeat(IDS, [5000, 5000, 0, 5000, 10_000])
    many = Spikes("net", ids, np.tile(np.linspace(0, 1, 5000), 5), cells=cells)

    plots.raster(many, group_by="layer", ax=ax)

    pixels = np.array(ax.images[0].get_array())
    darkest = pixels.reshape(len(pixels), -1, 3)
    assert (darkest[0] == 1).all()
    assert darkest[1].min(axis=0) == pytest.approx([0.3, 0.61, 0.79], abs=0.4)
    assert darkest[1, :, 2].min() > darkest[3, :, 2].min()


def test_rates_of_groups_are_those_of_a_cell(spikes, ax):
    plots.rates(spikes, group_by="layer", bin_width=0.1, start=0.0, stop=0.2, ax=ax)

    rates = [patch.get_data().values.tolist() for patch in ax.patches]
    assert rates == [[pytest.approx(10), pytest.approx(5)], [5, 0], [5, 0]]
    assert names_of(ax) == ["L2 (2)", "L10 (2)", "missing (2)"]
    assert note_of(ax) == "mean of 6 cells of the population, bins of 100 ms, by layer"


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({}, "mean of 6 cells of the population"),
        ({"silent": np.array([40])}, "mean of 4 recorded cells"),
        ({"cells": None}, "mean of 3 cells that spike"),
    ],
)
def test_silent_cells_count_where_the_population_is_known(spikes, ax, change, note):
    plots.rates(replace(spikes, **change), ax=ax)

    assert note_of(ax).startswith(note)


def test_cells_are_points_at_their_places(report, space):
    plots.neuron(report, at=0.0, ax=space)

    (spots,) = space.collections
    x, y, z = spots._offsets3d  # noqa: SLF001 - there is no other way
    order = np.argsort(IDS)
    assert (x.tolist(), y.tolist(), set(z)) == (order.tolist(), (10 * order).tolist(), {3})
    assert spots.get_array().tolist() == IDS[order].tolist()


def test_cells_in_space_have_the_colours_of_their_groups(output, space):
    known = replace(output, circuit=Circuit((replace(output.spikes[0].cells),)))

    plots.neuron(known, group_by="layer", ax=space)

    (spots,) = space.collections
    blue = spots._facecolors[:, 2]  # noqa: SLF001 - there is no other way before drawing
    assert blue == pytest.approx([0, 0.702, 0.698, 0.698, 0], abs=1e-3)
    assert names_of(space) == ["L2 (2)", "L10 (2)", "missing (1)"]
    assert space.get_title(loc="left") == "cells, population net\n5 cells, by layer"


def test_cells_with_spikes_have_the_colour_of_their_rate(spikes, space):
    plots.neuron(spikes, start=0.0, stop=0.2, ax=space)

    (spots,) = space.collections
    assert spots.get_array().tolist() == pytest.approx([5, 0, 15, 0, 0])
    assert space.get_title(loc="left").split("\n")[0] == "rate, population net, from 0 to 200 ms"
    binned = rate_report(spikes, start=0.0, stop=0.2)
    assert binned.data[:].sum() == pytest.approx(5 / 0.005)


def test_a_group_has_its_colour_in_all_panels_and_other_cells_are_grey(output):
    table = CompartmentTable.from_cells("net", IDS[[1, 4]])
    table = replace(table, cell_columns={name: np.arange(2.0) for name in "xyz"})
    report = replace(output.reports[0], data=np.ones((4, 2)), compartments=table)
    some = replace(output, reports=(report,))

    raster, traces = plots.draw(some, options=PictureOptions(group_by="layer")).axes
    colors = {line.get_color() for line in traces.lines if line.get_label() != "_scale"}
    space = plots.draw(some, "neuron").axes[0]

    assert colors == {COLORS[1]}
    assert names_of(traces) == ["L10 (2)"]
    assert len(raster.get_yticks()) == 3
    assert note_of(space) == "3 other cells in grey"
    assert [len(part.get_offsets()) for part in space.collections] == [3, 2]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [([1, 3], [(1, 0), (3, 2)]), ([1, *range(3, 14)], [(1, 0), (3, 1)])],
)
def test_a_value_has_one_colour_in_all_populations_unless_there_are_many(layers, expected):
    """Legends of equal names and other colours stay."""
    tables = [
        CellTable(name, np.arange(len(one)), {"layer": np.array(one)})
        for name, one in {"a": [1, 3, 2], "b": layers}.items()
    ]
    spikes = [Spikes(one.population, one.ids, 0.1 + 0.1 * one.ids, cells=one) for one in tables]

    options = PictureOptions(cells=[0, 1], color_by="layer")
    figure = plots.draw(SimulationOutput(spikes=tuple(spikes)), "raster", options)
    legends = [ax.get_legend() for ax in figure.axes]
    found = [
        [(text.get_text(), handle.get_color()) for text, handle in
         zip(legend.get_texts(), legend.legend_handles, strict=True)]
        for legend in legends if legend is not None
    ]  # fmt: skip

    of_a = [(" 1 (1)", COLORS[0]), (" 3 (1)", COLORS[2])]
    of_b = [(f" {value} (1)", COLORS[color]) for value, color in expected]
    assert found == ([of_a] if of_a == of_b else [of_a, of_b])
    assert [line.get_color() for line in figure.axes[1].lines] == [color for _, color in of_b]


def test_cells_of_a_circuit_alone_are_chosen_by_id(cells, tmp_path):
    alone = SimulationOutput(circuit=Circuit((cells,)))
    (panel,) = plots.draw(alone, options=PictureOptions(cells=IDS[:2].tolist())).axes
    assert panel.get_title(loc="left").endswith("2 cells")
    with pytest.raises(CellNotFoundError, match=r"no cells .* 7777; it has:"):
        plots.draw(alone, options=PictureOptions(cells=[7777]))
    with pytest.raises(NothingRecordedError, match=r"of population 'net' has no values$"):
        plots.save_animation(alone, tmp_path / "cells.gif")


def test_a_circuit_alone_is_drawn_in_space(cells):
    (panel,) = plots.draw(SimulationOutput(circuit=Circuit((cells,)))).axes

    assert panel.get_title(loc="left") == "cells, population net\n5 cells"


def test_panels_show_the_cells_that_match_and_those_with_the_property(output):
    other = replace(output.spikes[0], population="other", cells=None)
    both = replace(output, spikes=(*output.spikes, other))

    raster, traces = plots.draw(
        both, options=PictureOptions(cells={"layer": ["L2", "L10"]}, group_by="layer")
    ).axes

    assert note_of(raster) == "4 spikes, by layer"
    assert names_of(traces) == ["L2 (2)", "L10 (2)"]
    chosen = PictureOptions(cells="deep", numbers=[0], overlay=True)
    (deep,) = plots.draw(output, "traces", chosen).axes
    assert sorted(line.get_ydata()[0] for line in deep.lines) == [10, 50]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"group_by": "q"}, SelectionError, r"'q' \(--group-by\); properties: layer, n, x, y, z$"),
        ({"cells": {"q": 1}}, SelectionError, "no property 'q'; expected one of: layer, n, x"),
        ({"cells": "q"}, SelectionError, "no node set 'q'"),
        ({"cells": {"layer": "L5"}}, CellNotFoundError, r"no cell matches .*'L5'.* \(--cells\)"),
        ({"group_by": "layer", "channels": [1]}, SelectionError, "does not apply"),
    ],
)
def test_unknown_properties_are_one_line_with_those_that_exist(output, options, error, message):
    with pytest.raises(error, match=message) as raised:
        plots.draw(output, options=PictureOptions(**options))
    assert "\n" not in str(raised.value)


def test_a_choice_without_cells_is_not_drawn(spikes, report):
    none = {"node_id": -1}
    for draw, source in [
        (plots.raster, spikes),
        (plots.rates, spikes),
        (plots.traces, report),
        (plots.heat_map, report),
        (plots.neuron, report),
    ]:
        for by in (None, "layer"):
            with pytest.raises(CellNotFoundError, match=r"no cell of population .* matches"):
                draw(source, none, group_by=by)
    with pytest.raises(NothingRecordedError, match="there are no cells of population"):
        plots.rates(spikes, [], group_by="layer")


def test_long_names_that_begin_or_end_alike_can_be_told_apart():
    texts = [f"hoc:templates/of a long name, L{layer}_PC" + "y" * 50 for layer in (5, 2)]
    cells = CellTable("net", np.arange(4), {"type": np.array([*texts, "short", "x" * 40], object)})

    found = group_cells(cells, "type").names
    assert len({*found}) == 4
    assert max(map(len, found)) <= 31
    assert group_cells(cells, "type", np.arange(2)).names == (
        "…name, L2_PCyyy…yyyyyyyyyyyyyyy",
        "…name, L5_PCyyy…yyyyyyyyyyyyyyy",
    )


def test_names_are_neither_math_nor_left_out(spikes, report, space):
    from matplotlib.figure import Figure

    names = np.array(["$a$", "_b", "$c_{", "\\frac", "e" * 99], object)
    cells = CellTable("net", IDS, {"$t_{$": names, **PLACES})
    figure = Figure(layout="constrained")
    above, below = figure.subplots(2)

    plots.raster(replace(spikes, cells=cells), group_by="$t_{$", ax=above)
    plots.rates(replace(spikes, cells=cells), group_by="$t_{$", ax=below)
    plots.neuron(cells, group_by="$t_{$", ax=space)
    figure.canvas.draw()
    space.figure.canvas.draw()

    assert {"$a$ (1)", "_b (1)", "$c_{ (1)"} <= {*names_of(below), *names_of(space)}


def test_several_values_a_cell_are_no_groups(spikes):
    cells = CellTable("net", IDS, {"tau": np.zeros((5, 2))})

    with pytest.raises(SelectionError, match="has 2 values for a cell"):
        plots.raster(replace(spikes, cells=cells), group_by="tau")
    with pytest.raises(NothingRecordedError, match="the output has: cells of net without x and y"):
        plots.draw(SimulationOutput(circuit=Circuit((cells,))))


def test_a_population_that_the_circuit_lacks_is_told(spikes):
    circuit = Circuit((CellTable("net", IDS, {"layer": np.zeros(5)}),))
    output = SimulationOutput(
        spikes=(replace(spikes, population="v1", cells=None),), circuit=circuit
    )

    with pytest.raises(NothingRecordedError, match=r"of v1 \(not in the circuit\), cells of net"):
        plots.draw(output, options=PictureOptions(group_by="layer"))
