"""Names of the files of continuous saving and of scans, in folders of the year and the day."""

import re
from datetime import datetime
from pathlib import Path

from ndx_simulation_output.pymodaq.files import H5SaverLowLevel

__all__ = ["H5Saver", "continuous_path", "dataset_path"]

_SUFFIX = ".nwb"


def continuous_path(
    base_path: str | Path, base_name: str = "Data", when: datetime | None = None
) -> Path:
    """Give the path of a file that is begun ``when``, by default now.

    Example
    -------
    >>> continuous_path("D", when=datetime(2018, 12, 20, 16, 58, 48)).as_posix()
    'D/2018/20181220/Data_20181220_16_58_48.nwb'

    """
    when = when or datetime.now().astimezone()
    return _day(base_path, when) / f"{base_name}_{when:%Y%m%d_%H_%M_%S}{_SUFFIX}"


def dataset_path(
    base_path: str | Path, base_name: str = "Dataset", when: datetime | None = None
) -> Path:
    """Give the path of the next file of scans of a day: its number is one above the highest.

    Example
    -------
    >>> dataset_path("D", when=datetime(2026, 11, 20)).as_posix()
    'D/2026/20261120/Dataset_20261120_000.nwb'

    """
    when = when or datetime.now().astimezone()
    day, stem = _day(base_path, when), f"{base_name}_{when:%Y%m%d}"
    pattern = re.compile(rf"{re.escape(stem)}_(\d{{3,}})\.(?:nwb|h5)")
    names = [path.name for path in day.iterdir()] if day.is_dir() else []
    numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    return day / f"{stem}_{max(numbers, default=-1) + 1:03d}{_SUFFIX}"


class H5Saver(H5SaverLowLevel):
    """A file object that names its files: of scans as datasets, of all else by the time.

    Example
    -------
    >>> with H5Saver("detector", base_path="data") as saver:  # doctest: +SKIP
    ...     print(saver.start().name)
    Data_20261120_17_28_52.nwb

    """

    def __init__(
        self,
        save_type: str = "scan",
        backend: str | None = None,
        *,
        base_path: str | Path = ".",
        base_name: str | None = None,
    ) -> None:
        """Make a file object without a file; files are named ``base_name``, ``Data`` by default."""
        super().__init__(save_type, backend)
        self.base_path, self.base_name = Path(base_path), base_name

    def start(self) -> Path:
        """Close the file, if one is open, and begin a new one; give its path.

        Two files begun in one second have different names. Folders that do not exist are made.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        if self.save_type == "scan":
            path = dataset_path(self.base_path, self.base_name or "Dataset")
        else:
            path = _free(continuous_path(self.base_path, self.base_name or "Data"))
        self.init_file(path, new_file=True)
        return path


def _day(base_path: str | Path, when: datetime) -> Path:
    return Path(base_path) / f"{when:%Y}" / f"{when:%Y%m%d}"


def _free(path: Path) -> Path:
    found, number = path, 2
    while found.exists():
        found, number = path.with_stem(f"{path.stem}_{number}"), number + 1
    return found
