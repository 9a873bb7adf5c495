"""The environment of the predecessor, ndx-simulation-output 0.2.6, as it last worked."""

import subprocess
import sys
from pathlib import Path

__all__ = ["REQUIREMENTS", "python"]

# 0.2.6 asks for any pynwb from 1.1.2 on, but imports what hdmf 4 removed.
REQUIREMENTS = (
    "ndx-simulation-output==0.2.6",
    "pynwb==2.8.3",
    "hdmf==3.14.6",
    "numpy<2",
    "h5py",
)
ENVIRONMENT = Path(__file__).with_name(".environments") / "predecessor"
LAST_PYTHON = (3, 12)  # the last for which numpy 1 is built


def python() -> Path:
    """Give the Python of the predecessor's environment, which is made when it is missing."""
    if sys.version_info[:2] > LAST_PYTHON:
        msg = "the predecessor needs numpy 1, so run this with Python 3.12 or older"
        raise RuntimeError(msg)
    done = ENVIRONMENT / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS)
    interpreter = ENVIRONMENT / "bin" / "python"
    if not done.exists() or done.read_text() != wanted:
        _run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
        _run(str(interpreter), "-m", "pip", "install", "--quiet", *REQUIREMENTS)
        done.write_text(wanted)
    return interpreter


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - the two commands above
