"""Many spikes of a file are read when they are used, and are the same as those read at once."""

import pickle
import warnings
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ndx_simulation_output.nwb.spikes as of_nwb
import ndx_simulation_output.recording.spikes as of_any
import ndx_simulation_output.sonata.spikes as of_sonata
from ndx_simulation_output import convert, export_sonata, info, open_output
from ndx_simulation_output.errors import (
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
    UnsupportedSourceError,
)
from ndx_simulation_output.nwb import reader
from ndx_simulation_output.recording import CellTable, SimulationOutput, Spikes, sorting
from ndx_simulation_output.recording.spikes import join_blocks
from ndx_simulation_output.storage.reading import file_versions

FIELDS = ("node_ids", "times", "columns", "provenance", "silent", "intervals", "cells")
METADATA = {"NWBFile": {"session_start_time": datetime(2026, 1, 1, tzinfo=timezone.utc)}}


@pytest.fixture(autouse=True)
def lazy(monkeypatch):
    """Even few spikes are read when they are used, a few at a time."""
    for module in (of_any, of_nwb):
        monkeypatch.setattr(module, "FEW", -1)
    for module in (of_any, of_nwb, of_sonata):
        monkeypatch.setattr(module, "_BLOCK", 5)
    monkeypatch.setattr(of_nwb, "_TEXTS", 2)
    monkeypatch.setattr(sorting, "RANGE_ROWS", 5)
    monkeypatch.setattr(sorting, "_SAMPLED", 2)


def opened_at_once(path):
    with pytest.MonkeyPatch.context() as patch:
        for module in (of_any, of_nwb):
            patch.setattr(module, "FEW", 2**16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SimulationOutputWarning)
            return open_output(path)


@st.composite
def recordings(draw):
    """Return spikes of two populations: by id, by time or in neither order."""
    found = []
    for name in ("exc", "inh"):
        count = draw(st.integers(0, 20))
        ids = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
        ticks = draw(st.lists(st.integers(0, 30), min_size=count, max_size=count))
        ids, times = np.array(ids, np.int64), np.array(ticks) * draw(st.sampled_from([0.1, 1e-3]))
        order = {"time": times, "id": ids, "none": np.zeros(count)}[
            draw(st.sampled_from(["time", "id", "none"]))
        ]
        order = np.argsort(order, kind="stable")
        silent = np.setdiff1d(draw(st.sampled_from([[], [8], [8, 2, 9]])), ids).astype(np.int64)
        cells = CellTable(name, np.arange(12), {"layer": np.arange(12) % 3})
        found.append(
            Spikes(
                name,
                ids[order],
                times[order],
                silent=silent if len(silent) else None,
                intervals=draw(st.sampled_from([None, np.array([[0.0, 4.0]])])),
                cells=draw(st.sampled_from([None, cells])),
            )
        )
    return found


def values_of(spikes):
    values = {name: getattr(spikes, name) for name in FIELDS if name != "cells"}
    cells = spikes.cells
    table = None if cells is None else (cells.ids[:], {k: v[:] for k, v in cells.columns.items()})
    return values | {"cells": table, "known": spikes.known_cells, "n": len(spikes)}


def check_equal(found, expected):
    np.testing.assert_equal(values_of(found), values_of(expected))
    assert found.times.dtype == expected.times.dtype
    assert {k: v.dtype for k, v in found.columns.items()} == {
        k: v.dtype for k, v in expected.columns.items()
    }


def in_pairs(blocks):
    return sorted((i, t) for block in blocks for i, t in zip(*block[:2], strict=True))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(recordings(), st.data())
def test_spikes_of_a_file_are_the_same_read_when_used_and_at_once(tmp_path, populations, data):
    path = tmp_path / "run.nwb"
    convert(SimulationOutput(spikes=tuple(populations)), path, metadata=METADATA, overwrite=True)
    sonata = tmp_path / "spikes.h5"
    with h5py.File(sonata, "w") as file:
        for one in populations:
            group = file.create_group(f"spikes/{one.population}")
            group["node_ids"] = one.node_ids.astype("<u8")
            group["timestamps"] = one.times * 1e3 * (1 + 2**-52)
            group["timestamps"].attrs["units"] = "ms"
    cells = data.draw(st.sampled_from([None, [3], [8, 1], []]))
    window = data.draw(st.sampled_from([{}, {"start": 0.2}, {"start": 0.005, "stop": 1.5}]))
    for source in (path, sonata):
        with open_output(source) as output, opened_at_once(source) as all_read:
            assert output.notes == all_read.notes
            for lazy, expected in zip(output.spikes, all_read.spikes, strict=True):
                assert expected.is_read
                is_there = len(lazy) > 0
                assert lazy.is_read <= (not is_there)
                assert lazy.span == expected.span
                whole = expected.node_ids, expected.times, dict(expected.columns)
                np.testing.assert_equal(join_blocks(lazy.blocks(3)), of_any.SpikeBlock(*whole))
                chosen = None if cells is None else np.intersect1d(cells, expected.known_cells)
                assert in_pairs(lazy.parts(chosen, **window)) == in_pairs(
                    expected.parts(chosen, **window)
                )
                check_equal(lazy.select(chosen, **window), expected.select(chosen, **window))
                assert lazy.is_read <= (not is_there)
                check_equal(lazy, expected)
                assert lazy.is_read


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(recordings(), st.sampled_from([1, 16]), st.sampled_from([None, [3], [8, 1], []]))
def test_spikes_of_many_files_are_joined_when_they_are_used(
    tmp_path, monkeypatch, populations, most_open, cells
):
    monkeypatch.setattr(reader, "_MOST_OPEN", most_open)
    paths = []
    for rank in range(3):
        own = [one.select(one.known_cells[one.known_cells % 3 == rank]) for one in populations]
        paths.append(tmp_path / f"{rank}.nwb")
        convert(SimulationOutput(spikes=tuple(own)), paths[-1], metadata=METADATA, overwrite=True)
    with open_output(paths) as output, opened_at_once(paths) as all_read:
        for lazy, expected in zip(output.spikes, all_read.spikes, strict=True):
            whole = expected.node_ids, expected.times, dict(expected.columns)
            np.testing.assert_equal(join_blocks(lazy.blocks(3)), of_any.SpikeBlock(*whole))
            chosen = None if cells is None else np.intersect1d(cells, expected.known_cells)
            assert in_pairs(lazy.parts(chosen)) == in_pairs(expected.parts(chosen))
            check_equal(lazy.select(chosen, stop=1.5), expected.select(chosen, stop=1.5))
            assert lazy.is_read <= (not len(lazy))
            check_equal(lazy, expected)
        assert sorted(output.notes) == sorted(all_read.notes)


@pytest.fixture
def sonata(tmp_path):
    with h5py.File(tmp_path / "spikes.h5", "w") as file:
        group = file.create_group("spikes/exc")
        group["node_ids"] = np.array([3, 1, 3], np.int64)
        group["timestamps"] = np.array([1.0, np.nan, 3.0])
        group["timestamps"].attrs["units"] = "ms"
    return tmp_path / "spikes.h5"


def test_nothing_is_read_until_it_is_used(sonata):
    with open_output(sonata) as output:
        text = repr(output)
        assert not output.spikes[0].is_read
    assert "3 spikes" in text
    with pytest.raises(SourceError, match="is closed: what was opened from it cannot be read"):
        output.spikes[0].times  # noqa: B018


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_conversions_lists_and_exports_read_some_spikes_at_a_time(sonata, tmp_path):
    convert(sonata, tmp_path / "run.nwb", metadata=METADATA)
    for source in (sonata, tmp_path / "run.nwb"):
        with open_output(source) as output:
            list(info.describe(output))
            convert(output, tmp_path / f"{source.stem}_2.nwb", metadata=METADATA)
            assert not output.spikes[0].is_read
            assert [Path(one.path).name for one in file_versions(output)] == [source.name]
    export_sonata(tmp_path / "run.nwb", tmp_path / "exported")
    with h5py.File(sonata) as given, h5py.File(tmp_path / "exported" / "spikes.h5") as written:
        for name in ("node_ids", "timestamps"):
            expected, found = given["spikes/exc"][name], written["spikes/exc"][name]
            assert found[:].tobytes() == expected[:].tobytes()
            assert found.dtype == expected.dtype


def test_spikes_at_no_time_are_told_of_when_the_notes_are_read(sonata):
    with open_output(sonata) as output:
        with pytest.warns(SimulationOutputWarning, match="not finite"):
            (note,) = output.notes
        assert len(output.spikes[0]) == 2
        assert output.spikes[0].provenance["not_finite"]["positions"] == [1]
    assert note.startswith("left out: 1 spikes of population 'exc'")


def test_wrong_ids_and_a_changed_file_are_refused_when_they_are_read(sonata):
    with h5py.File(sonata, "r+") as file:
        file["spikes/exc/node_ids"][0] = -1
    with open_output(sonata) as output:
        with pytest.raises(UnsupportedSourceError, match=r"node_ids of spikes.h5 has the negative"):
            output.spikes[0].node_ids  # noqa: B018
        sonata.write_bytes(sonata.read_bytes() + b"\0")
        with pytest.raises(SourceError, match="the file has changed since it was opened"):
            list(output.spikes[0].parts())


def test_a_wrong_index_is_refused(tmp_path):
    path = tmp_path / "run.nwb"
    spikes = Spikes("exc", np.array([1, 2, 3]), np.array([0.1, 0.2, 0.3]))
    convert(SimulationOutput(spikes=(spikes,)), path, metadata=METADATA)
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][:] = [2, 1, 3]
    with pytest.raises(ShapeMismatchError, match=r"spike_times_index of run.nwb does not ascend"):
        open_output(path)


def test_spikes_are_read_before_they_are_sent_to_another_process(tmp_path):
    path = tmp_path / "run.nwb"
    spikes = Spikes("exc", np.array([1, 2, 3]), np.array([0.1, 0.2, 0.3]))
    convert(SimulationOutput(spikes=(spikes,)), path, metadata=METADATA)
    with open_output(path) as output:
        sent = pickle.dumps(output.spikes[0])
    found = pickle.loads(sent)  # noqa: S301 - made above
    assert (found.node_ids.tolist(), found.times.tolist()) == ([1, 2, 3], [0.1, 0.2, 0.3])


def test_ranges_of_extreme_times_have_about_as_many_spikes_each():
    times = np.repeat([-1.7e308, 0.0, 1e-300, 1.7e308], 6)

    edges = sorting.range_edges([times], len(times))

    assert np.bincount(np.searchsorted(edges, times, side="right")).max() <= 6
