"""Options of ``read``, and the units determined by them, the configuration and the file."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from ndx_simulation_output.errors import UnitError, UnitWarning
from ndx_simulation_output.recording import UNKNOWN, Unit, parse_unit

# The dimensions of variables of NEURON. Blue Brain's writers label every report mV, including
# membrane currents in nA: a unit of another dimension is doubtful.
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
    """The options of ``read``.

    ``units`` maps the name of a report or potential to its unit, ``time_units`` also ``spikes``;
    ``compartments`` maps a report with every segment to ``all``. ``population`` is the name of
    the population of spikes without one, ``dt`` the time step (ms) of data without times;
    ``trust`` is that of ``open_source``. ``nodes`` is None to use a circuit that exists, True if
    it must; ``properties`` are those of cells, None for the default.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    time_units: Mapping[str, str] = field(default_factory=dict)
    compartments: Mapping[str, str] = field(default_factory=dict)
    population: str | None = None
    dt: float | None = None
    trust: bool = False
    nodes: bool | None = None
    properties: tuple[str, ...] | None = None

    def data_unit(
        self,
        names: tuple[str, ...],
        stated: str | None,
        variable: str | None,
        where: str,
        *,
        doubtful: str = "",
    ) -> Unit:
        """Return the unit of data; a missing or doubtful one is unknown, with a warning.

        ``names`` are the keys of the option, by priority: name of the series, of the report.
        ``stated`` is the unit in the configuration or file, ``doubtful`` why it may be wrong.
        """
        name = next((name for name in names if name in self.units), names[-1])
        if name in self.units:
            return _parse_option(name, self.units[name])
        if stated is None:
            found = "has no unit"
        elif (unit := parse_unit(stated)) is None:
            found = f"has the unknown unit {stated!r}"
        elif doubtful:
            found = f"has the unit {stated!r}, {doubtful}"
        elif _contradicts(variable or _variable_of(name), unit):
            described = variable or f"a report named {name!r}"
            found = f"has the unit {stated!r}, which cannot be the unit of {described}"
        else:
            return unit
        warnings.warn(
            f"{where} {found}; set it with --unit {name}=UNIT (unit={{{name!r}: UNIT}}); "
            "stored as 'unknown'",
            UnitWarning,
            stacklevel=2,
        )
        return UNKNOWN

    def seconds(
        self, names: tuple[str, ...], stated: str | None, where: str, *, expected: bool
    ) -> float:
        """Return the factor from the unit of time to seconds; by default that of ms.

        A warning is issued if ``stated`` is not a unit of time, or is missing and ``expected``
        because the simulators of this dialect write it.
        """
        name = next((name for name in names if name in self.time_units), names[-1])
        if name in self.time_units:
            unit = _parse_option(name, self.time_units[name])
            if unit.name != "seconds":
                msg = f"the time unit {self.time_units[name]!r} of {name} is not a unit of time"
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


def _parse_option(name: str, text: str) -> Unit:
    unit = parse_unit(text)
    if unit is None:
        msg = f"the unit {text!r} of {name} is not recognized; expected one such as mV or nA"
        raise UnitError(msg)
    return unit


def _variable_of(report: str) -> str | None:
    """Guess the variable from the name of a report, only to recognize a doubtful unit."""
    return "i_membrane" if "imembrane" in report.lower().replace("_", "") else None


def _contradicts(variable: str | None, unit: Unit) -> bool:
    dimension = _DIMENSIONS.get((variable or "").rsplit(".", 1)[-1].lower())
    if dimension is None or dimension == unit.name:
        return False
    return not {dimension, unit.name} <= _CURRENTS
