"""Convert the SONATA files of a run to one NWB file, with metadata of the session."""

from pathlib import Path

from ndx_simulation_output import convert, open_output, sonata
from ndx_simulation_output.cable import simulate

METADATA = {
    "NWBFile": {
        "session_description": "A small network of cable models",
        "session_start_time": "2026-01-31T12:00:00+01:00",
        "keywords": ["simulation"],
    },
    "Subject": {
        "subject_id": "model",
        "description": "A model, not an animal",
        "species": "Mus musculus",
        "sex": "U",
        "age": "P0D",
    },
}

# Stand-in for your simulation: a directory of SONATA files.
sonata.write(simulate(duration=0.05), Path("output"), dialect="bbp")

converted = convert("output", "run.nwb", metadata=METADATA)

print(f"wrote {converted.path}")
with open_output(converted.path) as output:
    for report in output.reports:
        times, columns = report.data.shape
        print(f"{report.name}: {times} times × {columns} compartments of {report.population}")
    for spikes in output.spikes:
        print(f"{len(spikes.times)} spikes of {spikes.population}")
