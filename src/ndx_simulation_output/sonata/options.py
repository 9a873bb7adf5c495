"""Options that complete what a SONATA source does not state."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from ndx_simulation_output.errors import UnitError, UnitWarning
from ndx_simulation_output.recording import UNKNOWN, Unit, parse_unit

# What the caller says about a source, because the source itself does not.

# Recorded variables of NEURON whose dimension is known. A unit of another dimension is doubtful:
# Blue Brain's writers label everything mV, also membrane currents in nA.
_DIMENSIONS = {
    "v": "volts",
    "vm": "volts",
    "v_m": "volts",
    "membrane_potential": "volts",
    "vext": "volts",
    "i_membrane": "amperes",
    "i_membrane_": "amperes",
    "i_cap": "amperes per square meter",
    "ina": "amperes per square meter",
    "ik": "amperes per square meter",
    "ica": "amperes per square meter",
    "cai": "moles per cubic meter",
    "cao": "moles per cubic meter",
    "nai": "moles per cubic meter",
    "ki": "moles per cubic meter",
}
_CURRENTS = {"amperes", "amperes per square meter"}


@dataclass(frozen=True)
class ReadOptions:
    """What the caller says about a source.

    ``units`` maps the name of a report (or ``spikes``, or the name of an extracellular file) to a
    unit such as ``mV``; ``time_units`` likewise the unit of its time. ``compartments`` maps a
    report to ``all`` where it has every segment of each section. ``population`` names spikes that
    have none; ``dt`` (ms) is the time step of reports without time.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    time_units: Mapping[str, str] = field(default_factory=dict)
    compartments: Mapping[str, str] = field(default_factory=dict)
    population: str | None = None
    dt: float | None = None

    def data_unit(
        self, names: tuple[str, ...], stated: str | None, variable: str | None, where: str
    ) -> Unit:
        """Decide the unit of some data; a missing or doubtful one is unknown, with a warning.

        ``names`` are those by which the caller may set it: of the series, of the report.

        Raises
        ------
        UnitError
            If the caller's own unit is not understood.

        """
        name = next((name for name in names if name in self.units), names[-1])
        if name in self.units:
            return _given(name, self.units[name])
        option = f"set it with --unit {name}=UNIT (unit={{{name!r}: UNIT}})"
        if stated is None:
            message = f"{where} has no unit; {option}"
        elif (unit := parse_unit(stated)) is None:
            message = f"{where} has the unit {stated!r}, which is not one that is known; {option}"
        elif _contradicts(variable or _hinted_variable(name), unit):
            doubt = variable or f"a report named {name!r}"
            message = f"{where} has the unit {stated!r}, doubtful for {doubt}; {option}"
        else:
            return unit
        warnings.warn(f"{message}; stored as 'unknown'", UnitWarning, stacklevel=2)
        return UNKNOWN

    def seconds(
        self, names: tuple[str, ...], stated: str | None, where: str, *, expected: bool
    ) -> float:
        """Give the factor from the time unit of ``names`` to seconds.

        The time of SONATA is in ms. Where ``expected`` is set, its producers state it, and a
        missing unit is warned of; so is one that is not a time.

        Raises
        ------
        UnitError
            If the caller's own unit is not a time.

        """
        name = next((name for name in names if name in self.time_units), names[-1])
        if name in self.time_units:
            unit = _given(name, self.time_units[name])
            if unit.name != "seconds":
                msg = f"the time unit {self.time_units[name]!r} given for {name} is not a time"
                raise UnitError(msg)
            return unit.conversion
        unit_of_file = parse_unit(stated) if stated is not None else None
        if unit_of_file is not None and unit_of_file.name == "seconds":
            return unit_of_file.conversion
        if stated is not None or expected:
            found = "no unit of time" if stated is None else f"the unit of time {stated!r}"
            warnings.warn(
                f"{where} has {found}; read as ms, the unit of SONATA; set it with "
                f"--time-unit {name}=UNIT (time_unit={{{name!r}: UNIT}})",
                UnitWarning,
                stacklevel=2,
            )
        return 1e-3


def _given(name: str, text: str) -> Unit:
    unit = parse_unit(text)
    if unit is None:
        msg = f"the unit {text!r} given for {name} is not understood; expected one such as mV or nA"
        raise UnitError(msg)
    return unit


def _hinted_variable(name: str) -> str | None:
    """Guess the variable from the name of a report, only to doubt a unit, never to choose one."""
    return "i_membrane" if "imembrane" in name.lower().replace("_", "") else None


def _contradicts(variable: str | None, unit: Unit) -> bool:
    known = _DIMENSIONS.get((variable or "").rsplit(".", 1)[-1].lower())
    if known is None or known == unit.name:
        return False
    return not {known, unit.name} <= _CURRENTS
