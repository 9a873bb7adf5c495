"""How data are stored: linked, quantized, compressed, in chunks of any shape."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynwb import NWBHDF5IO, validate

from ndx_simulation_output import StorageOptions, convert, export_sonata, open_output
from ndx_simulation_output.api import plan_layouts
from ndx_simulation_output.errors import (
    LayoutError,
    QuantizeError,
    SimulationOutputWarning,
    SourceError,
    UnitError,
)
from tests.sonata.making import SESSION, File, report

DATA = "report/pop/data"


def source(path: Path, file: File | None = None) -> Path:
    """Write a report of two cells with three compartments, three times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return (file or report()).write(path)


def converted(source: Path, target: Path, **options: Any) -> Path:
    return convert(source, target, metadata=SESSION, overwrite=True, **options).path


@pytest.mark.parametrize("name", ["compression", "quantize", "link", "chunks", "access", "memory"])
def test_a_storage_option_by_itself_is_an_error_that_says_where_it_belongs(name, tmp_path):
    with pytest.raises(LayoutError, match=f"pass storage=StorageOptions\\({name}=…"):
        converted(source(tmp_path / "v.h5"), tmp_path / "v.nwb", **{name: "gzip"})

    assert not (tmp_path / "v.nwb").exists()


def values_of(path: Path) -> np.ndarray:
    with open_output(path) as output:
        return output.reports[0].get_traces()


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"chunks": "contiguous"},
        {"chunks": (2, 2)},
        {"chunks": (2, 2), "compression": "gzip", "workers": 0},
        {"access": "cells", "memory": 2**20},
        {"access": "frames", "workers": 3},
        {"link": True},
    ],
    ids=str,
)
def test_values_do_not_depend_on_how_they_are_stored(tmp_path, options):
    report = source(tmp_path / "v.h5")
    plain = values_of(converted(report, tmp_path / "plain.nwb", workers=0))

    workers = options.get("workers")
    storage = StorageOptions(**{key: options[key] for key in options if key != "workers"})
    target = converted(report, tmp_path / "target.nwb", storage=storage, workers=workers)

    np.testing.assert_array_equal(values_of(target), plain)
    assert not validate(path=target)
    with NWBHDF5IO(str(target), "r") as io:
        series = io.read().acquisition["v"]
        assert (series.unit, series.conversion) == ("volts", 1e-3)


def test_the_plan_says_what_the_file_then_has(tmp_path):
    report = source(tmp_path / "v.h5")
    storage = StorageOptions(chunks=(2, 2), compression="gzip")
    with open_output(report) as output:
        planned = plan_layouts(output, storage)["v"]

    target = converted(report, tmp_path / "v.nwb", storage=storage)

    with h5py.File(target) as file:
        data = file["acquisition/v/data"]
        assert (data.chunks, data.compression, data.shuffle) == (planned.chunks, "gzip", True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"access": "rows"}, "balanced, cells or frames"),
        ({"compression": "zip"}, "expected auto, gzip, zstd or none"),
        ({"chunks": (0, 3)}, "two positive numbers"),
        ({"chunks": "auto"}, "two positive numbers"),
        ({"chunks": "contiguous", "compression": "gzip"}, "cannot be compressed"),
        ({"link": True, "compression": "gzip"}, "stored as in the source"),
        ({"memory": 1000}, "at least 1 MiB"),
    ],
    ids=str,
)
def test_what_cannot_be_stored_so_is_refused(tmp_path, options, said):
    report = source(tmp_path / "v.h5")

    with pytest.raises(LayoutError, match=said):
        converted(report, tmp_path / "v.nwb", storage=StorageOptions(**options))

    assert not (tmp_path / "v.nwb").exists()


class TestLink:
    def test_the_file_holds_no_data_and_refers_to_them_relatively(self, tmp_path, monkeypatch):
        report = source(tmp_path / "sources" / "v.h5")
        (tmp_path / "nwb").mkdir()
        with pytest.warns(SimulationOutputWarning, match=r"linked to \.\./sources/v\.h5, outside"):
            target = converted(report, tmp_path / "nwb/v.nwb", storage=StorageOptions(link=True))

        monkeypatch.chdir("/")

        with h5py.File(target) as file, h5py.File(report) as original:
            data = file["acquisition/v/data"]
            (link,) = data.virtual_sources()
            assert link.file_name == "../sources/v.h5"
            np.testing.assert_array_equal(data[:], original[DATA][:])

    def test_both_files_can_move_together(self, tmp_path):
        report = source(tmp_path / "here" / "v.h5")
        expected = values_of(report)
        converted(report, tmp_path / "here" / "v.nwb", storage=StorageOptions(link=True))

        shutil.move(tmp_path / "here", tmp_path / "there")

        np.testing.assert_array_equal(values_of(tmp_path / "there" / "v.nwb"), expected)

    @pytest.mark.parametrize("name", ["50%", "%b", "%%", "ü #1 %20"])
    def test_the_source_and_its_population_may_have_any_name(self, name, tmp_path):
        path = source(tmp_path / f"{name}.h5", report(population=name))

        target = converted(path, tmp_path / "v.nwb", storage=StorageOptions(link=True))

        np.testing.assert_array_equal(values_of(target), values_of(path))
        with h5py.File(target) as file, h5py.File(path) as original:
            (series,) = file["acquisition"].values()
            np.testing.assert_array_equal(series["data"][:], original[f"report/{name}/data"][:])

    def test_a_source_that_has_moved_is_named(self, tmp_path):
        report = source(tmp_path / "v.h5")
        target = converted(report, tmp_path / "v.nwb", storage=StorageOptions(link=True))

        report.rename(tmp_path / "moved.h5")

        with (
            open_output(target) as output,
            pytest.raises(SourceError, match=r"acquisition/v/data of v\.nwb is linked to v\.h5"),
        ):
            output["v"].get_traces(cells=4)

    def test_a_source_of_another_shape_is_refused(self, tmp_path):
        target = converted(
            source(tmp_path / "v.h5"), tmp_path / "v.nwb", storage=StorageOptions(link=True)
        )
        source(tmp_path / "v.h5", report(rows=2))

        with (
            open_output(target) as output,
            pytest.raises(SourceError, match=r"shape \(2, 3\); expected 3 rows and 3 columns"),
        ):
            output["v"].get_traces(cells=4)

    def test_columns_in_another_order_are_read_in_that_of_the_table(self, tmp_path):
        path = source(tmp_path / "v.h5", report(cells=(4, 1, 4), counts=(1, 1, 1)))
        expected = values_of(path)

        linked = values_of(
            converted(path, tmp_path / "linked.nwb", storage=StorageOptions(link=True))
        )

        np.testing.assert_array_equal(linked, expected)

    def test_a_report_of_one_dimension_is_linked_too(self, tmp_path):
        file = report(cells=(4,), counts=(1,))
        file.datasets[DATA] = np.ravel(file.datasets[DATA])
        path = source(tmp_path / "v.h5", file)

        linked = values_of(
            converted(path, tmp_path / "linked.nwb", storage=StorageOptions(link=True))
        )

        np.testing.assert_array_equal(linked, values_of(path))

    def test_a_linked_file_goes_back_to_sonata(self, tmp_path):
        path = source(tmp_path / "v.h5")
        target = converted(path, tmp_path / "v.nwb", storage=StorageOptions(link=True))

        export_sonata(target, tmp_path / "back")

        with h5py.File(path) as first, h5py.File(tmp_path / "back" / "v.h5") as second:
            np.testing.assert_array_equal(first[DATA][:], second[DATA][:])


def test_rounded_values_cannot_be_linked(tmp_path):
    path = source(tmp_path / "v.h5")

    with pytest.raises(LayoutError, match="linked data cannot be quantized"):
        converted(path, tmp_path / "v.nwb", storage=StorageOptions(link=True, quantize="0.01mV"))

    assert not (tmp_path / "v.nwb").exists()


class TestQuantize:
    @settings(max_examples=20)
    @given(
        step=st.sampled_from([0.01, 0.5, 2.0]),
        middle=st.sampled_from([0.0, -65.0, 1e5]),
        seed=st.integers(0, 2**16),
    )
    def test_no_value_changes_by_more_than_half_a_step(self, tmp_path_factory, step, middle, seed):
        tmp_path = tmp_path_factory.mktemp("quantize")
        file = report()
        rng = np.random.default_rng(seed)
        values = middle + rng.uniform(-300, 300, file.datasets[DATA].shape)
        file.datasets[DATA] = values
        path = source(tmp_path / "v.h5", file)

        target = converted(path, tmp_path / "v.nwb", storage=StorageOptions(quantize=f"{step}mV"))

        with h5py.File(target) as stored:
            data = stored["acquisition/v/data"]
            assert data.dtype == np.int16
            assert data.attrs["conversion"] == pytest.approx(step * 1e-3)
        error = np.abs(values_of(target) - values * 1e-3)
        assert error.max() <= step / 2 * 1e-3 * (1 + 1e-9) + abs(middle) * 1e-18
        assert not validate(path=target)

    def test_the_description_states_the_bound(self, tmp_path):
        target = converted(
            source(tmp_path / "v.h5"), tmp_path / "v.nwb", storage=StorageOptions(quantize="0.01mV")
        )

        with NWBHDF5IO(str(target), "r") as io:
            described = io.read().acquisition["v"].description
        assert "multiples of 1e-05, an error of at most 5e-06 volts" in described

    def test_a_report_is_chosen_by_name(self, tmp_path):
        path = source(tmp_path / "v.h5")

        target = converted(
            path, tmp_path / "v.nwb", storage=StorageOptions(quantize={"v": "0.02 mV"}), workers=2
        )

        with h5py.File(target) as stored:
            assert stored["acquisition/v/data"].dtype == np.int16

    @pytest.mark.parametrize(
        ("step", "error", "said"),
        [
            ("0.00001mV", QuantizeError, "expected a step of at least"),
            ("1nA", UnitError, "no report has the unit of the quantization step 1nA"),
            ("mV", UnitError, "expected a number and a unit"),
            ("-1mV", UnitError, "expected a number and a unit"),
            ("1 parsec", UnitError, "expected a number and a unit"),
            ({"w": "1mV"}, UnitError, "set for report 'w'; reports: v"),
            ({"v": "1nA"}, UnitError, "in volts, its quantization step in amperes"),
        ],
        ids=str,
    )
    def test_what_does_not_fit_is_refused(self, tmp_path, step, error, said):
        with pytest.raises(error, match=said):
            converted(
                source(tmp_path / "v.h5"), tmp_path / "v.nwb", storage=StorageOptions(quantize=step)
            )

        assert list(tmp_path.iterdir()) == [tmp_path / "v.h5"]

    def test_nan_is_refused(self, tmp_path):
        file = report()
        file.datasets[DATA] = np.full(file.datasets[DATA].shape, np.nan)

        with pytest.raises(QuantizeError, match="has NaN or infinite values"):
            converted(
                source(tmp_path / "v.h5", file),
                tmp_path / "v.nwb",
                storage=StorageOptions(quantize="1mV"),
            )
