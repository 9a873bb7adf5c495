"""Delays in steps, whichever unit a file has them in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.rows import Rows

__all__ = ["Delays", "connectivity_delays", "file_delays"]

_TOLERANCE = 1e-3
_NO_DT = "they are not in {}, and the file does not say how long a step is: give dt (ms)"


@dataclass(frozen=True)
class Delays:
    """Delays in seconds and in time steps, of each synapse or of all; None if not known."""

    seconds: NDArray[np.float64] | None
    steps: NDArray[np.int64] | None


def file_delays(value: Any, rows: Rows, dt: float | None) -> Delays:
    """Read the delays of a saved projection, which are in ms.

    Raises
    ------
    ValueError
        If they do not fit the rows, or are no multiples of ``dt``, or it is not given.

    """
    found, locality = rows.read(value)
    if locality == "semiglobal":
        msg = "there is one for each row; expected one for each synapse, or for all"
        raise ValueError(msg)
    return _of_ms(found, dt)


def connectivity_delays(content: Mapping[str, Any], rows: Rows, dt: float | None) -> Delays:
    """Read the delays of a connectivity file: in steps until version 4.8, in ms since 5.0.

    ``max_delay`` and ``uniform_delay`` are in steps in all, so that both can be told apart; where
    the delays differ, they give the length of a step too.

    Raises
    ------
    ValueError
        If they do not fit the rows or ``dt``, or the length of a step is not known.

    """
    uniform, largest = int(content["uniform_delay"]), int(content["max_delay"])
    if uniform >= 0:
        # 0 means no delay, which takes one step.
        return _of_steps(np.array(max(uniform, 1)), dt)
    found, _ = rows.read(content["delay"])
    most = float(found.max()) if found.size else 0.0
    if largest <= 0 or most <= 0:
        msg = f"the largest is {most}, and max_delay is {largest}; expected more than 0"
        raise ValueError(msg)
    if most == largest and (dt is None or not np.isclose(dt, 1)):
        return _of_steps(found, dt)
    inferred = most / largest
    if dt is not None and not np.isclose(dt, inferred):
        msg = f"dt is {dt:g} ms, but the largest delay shows that it is {inferred:g} ms"
        raise ValueError(msg)
    return _of_ms(found, inferred)


def _of_ms(values: NDArray[Any], dt: float | None) -> Delays:
    if dt is None:
        raise ValueError(_NO_DT.format("steps"))
    steps = np.rint(values / dt)
    if not np.isfinite(steps).all() or (abs(values / dt - steps) > _TOLERANCE * abs(steps)).any():
        msg = f"they are no multiples of dt, {dt:g} ms; is it right?"
        raise ValueError(msg)
    return _of_steps(steps, dt)


def _of_steps(values: NDArray[Any], dt: float | None) -> Delays:
    if dt is None:
        raise ValueError(_NO_DT.format("seconds"))
    steps = np.asarray(values).astype(np.int64)
    if not np.array_equal(steps, values):
        msg = "they are in steps, but not whole"
        raise ValueError(msg)
    return Delays(np.asarray(steps * dt / 1000, np.float64), steps)
