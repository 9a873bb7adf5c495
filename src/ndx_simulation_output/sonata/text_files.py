"""Read and write text tables with a header: spikes, and positions of electrodes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError, UnsupportedSourceError, source_errors
from ndx_simulation_output.recording import Electrodes, Spikes
from ndx_simulation_output.recording.ids import ids_of_source
from ndx_simulation_output.recording.stored_spikes import spikes_from_source
from ndx_simulation_output.sonata.spikes import UNKNOWN_POPULATION
from ndx_simulation_output.sonata.units import ReadOptions

if TYPE_CHECKING:
    import pandas as pd

RATE_COLUMNS = {"node_id", "timestamps", "firing_rates"}
"""Columns of firing rates in text; bmtk also writes ``population``."""

_EXACT = 2.0**53  # integers below are exact in floating-point numbers
_LONGEST_HEADER = 100_000
_POSITIONS = ("x_pos", "y_pos", "z_pos")


def text_kind(path: Path) -> str:
    """Return ``electrodes``, ``spikes`` or ``rates``, from the header of a text file."""
    with (
        source_errors(f"{path} cannot be read as text"),
        path.open(encoding="utf-8-sig", errors="replace") as file,
    ):
        header = set(file.readline(_LONGEST_HEADER).replace(",", " ").split())
    if {"channel", *_POSITIONS} <= header:
        return "electrodes"
    if {"timestamps", "node_ids"} <= header:
        return "spikes"
    if header >= RATE_COLUMNS:
        return "rates"
    if is_zipfile(path):
        msg = f"{path} is a ZIP archive; unpack it first"
        raise UnsupportedSourceError(msg)
    msg = (
        f"{path} is neither a list of electrodes (channel x_pos y_pos z_pos) nor of spikes "
        "(timestamps population node_ids) nor of rates (node_id population timestamps "
        f"firing_rates); its first line has: {' '.join(sorted(header))[:80]}"
    )
    raise UnsupportedSourceError(msg)


def is_table(path: Path) -> bool:
    """Return True if a file is a text with a known header."""
    try:
        return bool(text_kind(path))
    except SourceError:
        return False


def read_text_spikes(path: Path, options: ReadOptions) -> list[Spikes]:
    """Read spikes with the header ``timestamps population node_ids``, by population."""
    with source_errors(f"{path} cannot be read as spikes (timestamps population node_ids)"):
        frame = _read_table(path)
        times = _floats(frame, "timestamps")
        ids = ids_of_source(_ids(frame, "node_ids"), f"node_ids of {path.name}")
    default = options.population or UNKNOWN_POPULATION
    names = frame["population"].to_numpy(dtype=object) if "population" in frame else None
    names = np.full(len(ids), default) if names is None else np.where(names == "", default, names)
    seconds = options.seconds(("spikes",), "ms", path.name, expected=True)
    spikes = []
    for population in dict.fromkeys(names):
        rows = names == population
        provenance = {"format": "SONATA", "dialect": "allen", "file": path.name, "text": True}
        spikes.append(
            spikes_from_source(str(population), ids[rows], times[rows], seconds, provenance)
        )
    return spikes


def read_electrodes(path: Path) -> Electrodes:
    """Read electrodes with the header ``channel x_pos y_pos z_pos``, positions in micrometres."""
    with source_errors(f"{path} cannot be read as electrodes (channel x_pos y_pos z_pos)"):
        frame = _read_table(path)
        ids = ids_of_source(_ids(frame, "channel"), f"channel of {path.name}")
        positions = np.stack([_floats(frame, name) for name in _POSITIONS], axis=1)
    if len(np.unique(ids)) != len(ids):
        msg = f"{path} lists a channel more than once"
        raise SourceError(msg)
    others = [column for column in frame.columns if column not in {"channel", *_POSITIONS}]
    columns = {column: _numbers_or_text(frame, column) for column in others}
    return Electrodes(ids, positions, columns, {"file": path.name})


def electrodes_text(electrodes: Electrodes) -> str:
    """Return the text of a file of electrodes: ``channel x_pos y_pos z_pos`` and other columns."""
    import pandas as pd

    positions = dict(zip(_POSITIONS, electrodes.positions.T, strict=True))
    frame = pd.DataFrame({"channel": electrodes.ids, **positions, **electrodes.columns})
    return str(frame.to_csv(sep=" ", index=False))


def separator_of(path: Path) -> str:
    """Return the separator of a table: a comma if the header has one, else white space."""
    with path.open(encoding="utf-8-sig") as file:
        return "," if "," in file.readline(_LONGEST_HEADER) else r"\s+"


def _read_table(path: Path) -> "pd.DataFrame":
    """Read a table as text."""
    import pandas as pd

    frame = pd.read_csv(
        path,
        sep=separator_of(path),
        skipinitialspace=True,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
    )
    # pandas uses columns without a name in the header as the index.
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        msg = f"rows have more values than the {len(frame.columns)} names of the header"
        raise ValueError(msg)
    return frame.rename(columns=lambda name: str(name).strip())


def _integers(frame: "pd.DataFrame", name: str) -> NDArray[np.int64]:
    try:
        return np.asarray(_texts(frame, name), np.int64)
    except OverflowError as error:
        msg = f"{name} has a number that is too large"
        raise ValueError(msg) from error


def _ids(frame: "pd.DataFrame", name: str) -> NDArray[np.int64]:
    """Return a column of ids, which may be written as ``2.0``."""
    texts = _texts(frame, name)
    if not any("." in text or "e" in text.lower() for text in texts):
        return _integers(frame, name)
    values = np.asarray(texts, np.float64)
    is_exact = (np.abs(values) < _EXACT) & (values == np.trunc(values))
    if not is_exact.all():
        msg = f"{name} has the value {texts[~is_exact][0]}; expected integers"
        raise ValueError(msg)
    return values.astype(np.int64)


def _floats(frame: "pd.DataFrame", name: str) -> NDArray[np.float64]:
    return np.asarray(_texts(frame, name), np.float64)


def _numbers_or_text(frame: "pd.DataFrame", name: str) -> NDArray[Any]:
    for as_numbers in (_integers, _floats):
        try:
            return as_numbers(frame, name)
        except ValueError:
            continue
    return np.asarray(frame[name].to_numpy(object))


def _texts(frame: "pd.DataFrame", name: str) -> NDArray[Any]:
    """Return the texts of a column of numbers; ``1_0``, which Python reads as 10, is an error."""
    texts = frame[name]
    if texts.str.contains("_", regex=False).any():
        msg = f"{name} has a value with _, which is not a number"
        raise ValueError(msg)
    return np.asarray(texts.to_numpy(object))
