"""Firing rates of FilterNet and PopNet, and currents of clamps, have unit, times and ids."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndx_simulation_output import convert, export_sonata, open_output
from ndx_simulation_output.errors import (
    NothingRecordedError,
    ShapeMismatchError,
    SourceError,
    UnitWarning,
    UnsupportedSourceError,
)
from ndx_simulation_output.recording import RegularTimes, Unit
from tests.sonata.making import SESSION, File, report

HERTZ = Unit("hertz")
RATES = np.arange(1.0, 13.0).reshape(4, 3)
IDS = [7, 2, 5]


def filternet(
    rates: Any = RATES, ids: Any = IDS, *, population: str = "LGN", times: Any = None
) -> File:
    """Return rates as FilterNet writes them, with times in seconds."""
    times = np.arange(len(rates)) / 1000 if times is None else times
    where = f"firing_rates/{population}"
    return File(
        {
            f"{where}/firing_rates_Hz": rates,
            f"{where}/node_id": np.asarray(ids, np.uint64),
            f"{where}/times": np.asarray(times),
        }
    )


def popnet(population: str = "cortex") -> File:
    """Return rates as PopNet writes them, with times in milliseconds."""
    where = f"rates/{population}"
    return File(
        {
            f"{where}/data": RATES,
            f"{where}/mapping/node_ids": np.asarray(IDS),
            f"{where}/mapping/time": np.arange(4) * 0.5,
        }
    )


def text(header: str, step: float, *, separator: str = " ") -> str:
    """Return rates as text, the rows of a cell one after another."""
    lines = [header.replace(" ", separator)]
    for cell, column in zip(IDS, RATES.T, strict=True):
        for row, rate in enumerate(column):
            values = {
                "node_id": cell,
                "population": "LGN",
                "timestamps": row * step,
                "firing_rates": rate,
                "ei": "e",
            }
            lines.append(separator.join(str(values[name]) for name in header.split()))
    return "\n".join(lines) + "\n"


OF_FILTERNET = "node_id population timestamps firing_rates"
OF_POPNET = "population node_id timestamps firing_rates"


def assert_rates(path: Path, *, rate: float, population: str, **options: Any) -> None:
    with open_output(path, **options) as output:
        (found,) = output.reports
        assert (found.population, found.variable, found.unit) == (population, "firing_rate", HERTZ)
        assert found.compartments.cell_ids[:].tolist() == IDS
        assert found.times == RegularTimes(0.0, rate, 4)
        assert found.get_traces().tolist() == RATES.tolist()
        assert found.get_traces(2).ravel().tolist() == RATES[:, 1].tolist()


@pytest.mark.parametrize(
    ("file", "rate", "population"),
    [(filternet(), 1000.0, "LGN"), (popnet(), 2000.0, "cortex")],
)
@pytest.mark.parametrize("target", ["o.nwb", "o.nwb.zarr"])
def test_rates_are_a_series_with_a_column_for_each_cell(
    file: File, rate: float, population: str, target: str, tmp_path: Path
) -> None:
    if target.endswith(".zarr"):
        pytest.importorskip("hdmf_zarr")
    source = file.write(tmp_path / "rates.h5")
    assert_rates(source, rate=rate, population=population)

    convert(source, tmp_path / target, metadata=SESSION)

    assert_rates(tmp_path / target, rate=rate, population=population)
    export_sonata(tmp_path / target, tmp_path / "back")
    with open_output(tmp_path / "back" / "rates.h5") as output:
        (back,) = output.reports
        assert (back.population, back.unit, back.times.rate) == (population, HERTZ, rate)
        assert back.get_traces(IDS).tolist() == RATES.tolist()


def test_units_that_a_file_of_rates_states_are_taken(tmp_path: Path) -> None:
    file = popnet() | File(groups=["rates/other"], datasets={"rates/next/data": RATES})
    file.attributes["rates/cortex/data"] = {"units": "kHz"}
    file.attributes["rates/cortex/mapping/time"] = {"units": "s"}
    source = file.write(tmp_path / "rates.h5")

    with open_output(source) as output:
        (found,) = output.reports
        assert (found.unit, found.times.rate) == (Unit("hertz", 1000.0), 2.0)
        assert {note.split(" of ")[0] for note in output.notes} == {"rates/next", "rates/other"}
    with open_output(source, unit={"rates": "Hz"}, time_unit={"rates": "ms"}) as output:
        assert (output["rates"].unit, output["rates"].times.rate) == (HERTZ, 2000.0)


@pytest.mark.parametrize(
    ("content", "rate"),
    [
        (text(OF_FILTERNET, 0.001), 1000.0),
        (text(OF_POPNET + " ei", 0.5, separator=","), 2000.0),
    ],
)
@pytest.mark.parametrize("rows", [2**20, 5, 1])
def test_rates_in_text_are_read_in_blocks(
    content: str, rate: float, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ndx_simulation_output.sonata.rates._ROWS", rows)
    (tmp_path / "rates.csv").write_text(content)

    assert_rates(tmp_path / "rates.csv", rate=rate, population="LGN")


def test_rates_in_text_may_be_missing(tmp_path: Path) -> None:
    lines = [OF_FILTERNET, "7 p 0.0 nan", "7 p 0.5 1.0"]
    (tmp_path / "rates.csv").write_text("\n".join(lines))

    with open_output(tmp_path / "rates.csv") as output:
        assert np.array_equal(output.reports[0].data[:], [[np.nan], [1.0]], equal_nan=True)


def test_times_of_text_that_bmtk_has_not_written_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text(text("timestamps node_id firing_rates", 0.5))

    with pytest.warns(UnitWarning, match=r"rates\.csv has no unit of time; read as ms"):
        assert_rates(tmp_path / "rates.csv", rate=2000.0, population="unknown")
    assert_rates(tmp_path / "rates.csv", rate=2.0, population="unknown", time_unit={"rates": "s"})


def test_columns_that_filternet_adds_for_other_populations_are_left_out(tmp_path: Path) -> None:
    zeros = np.zeros((4, 2))
    file = filternet(np.hstack([RATES, zeros]), [0, 1, 2, 0, 0])
    file |= filternet(np.hstack([zeros, zeros]), [0, 0, 0, 1], population="LP")

    with open_output(file.write(tmp_path / "rates.h5")) as output:
        lgn, lp = output.reports
        notes = output.notes
    assert (lgn.name, lgn.compartments.cell_ids[:].tolist()) == ("rates_LGN", [0, 1, 2])
    assert (lp.name, lp.compartments.cell_ids[:].tolist()) == ("rates_LP", [0, 1])
    assert [note.split(": ")[1][:18] for note in notes] == ["2 columns of zeros"] * 2
    assert [note.endswith("cell 0, which has only zeros, may be another") for note in notes] == [
        False,
        True,
    ]


WRONG = [
    (filternet(RATES, [1, 1, 2]), SourceError, "has the rates of cell 1 more than once"),
    (filternet(RATES.T), ShapeMismatchError, r"expected numbers \(time, cell\) = \(3, 3\)"),
    (filternet(times=[0, 2, 1, 3]), SourceError, "does not ascend"),
    (
        File({"firing_rates/p/times": np.zeros(2)}),
        UnsupportedSourceError,
        "but no population with node_id, times and firing_rates_Hz",
    ),
]


@pytest.mark.parametrize(("file", "kind", "reason"), WRONG)
def test_rates_that_do_not_fit_are_refused(
    file: File, kind: type[Exception], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=reason):
        open_output(file.write(tmp_path / "rates.h5"))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["7 p 0.0 1.0", "7 p 0.5 1.0", "2 p 0.0 1.0"], "cell 2 has 1 times, not 2"),
        (["7 p 0.0 1.0", "2 p 0.5 1.0"], "cell 2 has other times than cell 7"),
        (["a p 0.0 1.0"], "node_id has the value 'a'"),
        (["7 p 0.0 fast"], "fast"),
    ],
)
def test_text_of_rates_that_does_not_fit_is_refused(
    lines: list[str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "rates.csv").write_text("\n".join([OF_FILTERNET, *lines]))

    with pytest.raises(
        UnsupportedSourceError, match=rf"rates\.csv cannot be read as rates.*{reason}"
    ):
        open_output(tmp_path / "rates.csv")


def configured(directory: Path, **config: Any) -> Path:
    path = directory / "simulation_config.json"
    path.write_text(json.dumps({"output": {"output_dir": "."}, **config}))
    return path


@pytest.mark.parametrize("key", ["rates_h5", "rates_file", "rates_file_h5", "other"])
def test_a_configuration_may_name_rates_by_any_key(key: str, tmp_path: Path) -> None:
    filternet().write(tmp_path / "r")
    config = configured(tmp_path, output={"output_dir": ".", key: "r"})

    assert_rates(config, rate=1000.0, population="LGN")


@pytest.mark.parametrize("key", ["rates_csv", "rates_file", "rates_file_csv"])
def test_rates_in_several_forms_are_read_once(key: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(text(OF_FILTERNET, 0.001))
    (tmp_path / "s.csv").write_text(text(OF_FILTERNET, 0.001))
    output = {"output_dir": ".", key: "r.txt", "copy": "s.csv"}
    assert_rates(configured(tmp_path, output=output), rate=1000.0, population="LGN")

    filternet().write(tmp_path / "rates.h5")
    with open_output(configured(tmp_path, output={**output, "rates_h5": "rates.h5"})) as found:
        assert [rates.name for rates in found.reports] == ["rates"]
        assert sum("the rates were read from HDF5" in note for note in found.notes) == 2


CLAMP = {"clamp": {"module": "clamp_report", "variable_name": "se", "file_name": "c.h5"}}
RUN = {"tstop": 0.4, "dt": 0.1}


def test_clamps_are_read_where_the_configuration_has_their_time_step(tmp_path: Path) -> None:
    File({"data": RATES}).write(tmp_path / "c.h5")
    convert(configured(tmp_path, run=RUN, reports=CLAMP), tmp_path / "o.nwb", metadata=SESSION)

    for path, options in ((tmp_path / "o.nwb", {}), (tmp_path / "c.h5", {"dt": 0.1})):
        with open_output(path, **options) as output:
            (group,) = output.arrays
            (array,), times = group.arrays, next(axis for axis in group.axes if axis.index == 0)
            assert (array.unit, array.values[:].tolist()) == ("nA", RATES.tolist())
            assert np.allclose(times.values[:], [0.0, 1e-4, 2e-4, 3e-4], rtol=1e-15)
            assert times.unit == "s"


@pytest.mark.parametrize(
    ("run", "data", "reason"),
    [
        ({}, RATES, "set its time step in ms with dt= "),
        ({"tstart": 5.0, **RUN}, RATES, "set its time step in ms with dt= "),
        (RUN, np.zeros((4, 0)), r"it has no clamps"),
        (RUN, np.vstack([RATES, RATES]), "with 8 rows, where the run has 4 steps"),
    ],
)
def test_clamps_that_cannot_be_read_are_told_of_and_refuse_no_run(
    run: dict[str, float], data: Any, reason: str, tmp_path: Path
) -> None:
    File({"data": data}).write(tmp_path / "c.h5")
    report().write(tmp_path / "v.h5")
    config = configured(tmp_path, run=run, reports={**CLAMP, "v": {}})

    with open_output(config) as output:
        assert [found.name for found in output.reports] == ["v"]
        (note,) = output.notes
    assert "c.h5 contains data without times" in note
    assert reason in note
    with pytest.raises(NothingRecordedError, match=reason):
        open_output(configured(tmp_path, run=run, reports=CLAMP))
