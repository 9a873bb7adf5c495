"""Metadata of a simulation are stored in the file."""

import numpy as np
import pynwb
import pytest
from pynwb import NWBHDF5IO

from ndx_simulation_output import Compartments, SimulationMetaData

RUN = {
    "simulator": "NEURON",
    "simulator_version": "8.2.6",
    "time_step": 2.5e-5,
    "duration": 1.5,
    "temperature": 34.0,
    "seed": 42,
    "configuration": '{"dt": 0.025, "µ": "ü"}',
    "provenance": '{"dialect": "allen"}',
}


def table(name: str = "compartments") -> Compartments:
    return Compartments.from_arrays(number=[0], counts=[1], name=name)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (table(), ["compartments"]),
        (table("cortex"), ["cortex"]),
        ([table("a"), table("b")], ["a", "b"]),
        ((table("a"),), ["a"]),
        ([], []),
        (None, []),
    ],
    ids=["one", "one with a name", "two", "tuple", "none of a list", "none"],
)
def test_tables_are_accessed_by_name(given, names):
    metadata = SimulationMetaData(compartments=given)

    assert metadata.name == "simulation"
    assert list(metadata.compartments) == names


def test_two_tables_of_the_same_name_are_an_error():
    with pytest.raises(ValueError, match="'compartments'"):
        SimulationMetaData(compartments=[table(), table()])


def test_a_table_can_be_added_later():
    metadata = SimulationMetaData()

    metadata.add_compartments(table("late"))

    assert list(metadata.compartments) == ["late"]


@pytest.mark.parametrize("tables", [[], ["compartments"], ["a", "b"]])
def test_every_field_reads_back(tables, write_nwb):
    metadata = SimulationMetaData(compartments=[table(name) for name in tables], **RUN)

    path = write_nwb(metadata=metadata)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().lab_meta_data["simulation"]
        assert type(found) is SimulationMetaData
        assert {name: getattr(found, name) for name in RUN} == RUN
        assert sorted(found.compartments) == tables
        assert all(type(one) is Compartments for one in found.compartments.values())
    assert pynwb.validate(path=str(path)) == []


@pytest.mark.parametrize("name", RUN)
def test_each_field_is_optional(name, write_nwb):
    path = write_nwb(metadata=SimulationMetaData(**{name: RUN[name]}))

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().lab_meta_data["simulation"]
        assert {key: getattr(found, key) for key in RUN if key != name} == dict.fromkeys(
            set(RUN) - {name}
        )
        assert getattr(found, name) == RUN[name]


def test_units_of_the_fields_are_in_the_file(write_nwb):
    path = write_nwb(metadata=SimulationMetaData(**RUN))

    with NWBHDF5IO(str(path), "r") as io:
        io.read()
        group = io._file["general/simulation"]  # noqa: SLF001 - what other readers see
        units = {name: group[name].attrs["unit"] for name in ("time_step", "duration")}
        assert units == {"time_step": "seconds", "duration": "seconds"}
        assert group["temperature"].attrs["unit"] == "degrees Celsius"


@pytest.mark.parametrize("seed", [np.int64(3), 2**62, 0])
def test_seeds_are_integers(seed, write_nwb):
    path = write_nwb(metadata=SimulationMetaData(seed=seed))

    with NWBHDF5IO(str(path), "r") as io:
        assert io.read().lab_meta_data["simulation"].seed == seed


@pytest.mark.parametrize("name", ["time_step", "duration", "temperature"])
def test_integers_are_accepted_for_times_and_temperatures(name, write_nwb):
    path = write_nwb(metadata=SimulationMetaData(**{name: 1}))

    with NWBHDF5IO(str(path), "r") as io:
        assert getattr(io.read().lab_meta_data["simulation"], name) == 1.0
