"""Units as people read them: millivolts rather than 0.001 volts."""

from dataclasses import dataclass
from math import floor, isfinite, log10

from ndx_simulation_output.recording.units import UNKNOWN, Unit, parse_unit, unit_symbol

__all__ = ["Scale", "display_scale", "time_scale"]

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_FIELD = {
    # 1 mol/m³ is 1 mM; densities are per square centimetre where neurons are about.
    "moles per cubic meter": ("mM", 1.0),
    "amperes per square meter": ("mA/cm²", 0.1),
    "siemens per square meter": ("S/cm²", 1e-4),
    "farads per square meter": ("µF/cm²", 100.0),
    "degrees Celsius": ("°C", 1.0),
    "1": ("", 1.0),
}


@dataclass(frozen=True)
class Scale:
    """How values are shown: times ``factor``, in the unit ``symbol``, empty for plain numbers."""

    factor: float
    symbol: str

    def label(self, what: str) -> str:
        """Give the label of an axis.

        Example
        -------
        >>> Scale(1e3, "mV").label("v")
        'v (mV)'

        """
        return f"{what} ({self.symbol})" if self.symbol else what


def display_scale(unit_name: str, largest: float) -> Scale:
    """Choose how to show values of the unit ``unit_name`` of which the ``largest`` is given.

    Example
    -------
    >>> display_scale("volts", 0.07)
    Scale(factor=1000.0, symbol='mV')
    >>> display_scale("furlongs", 7.0)
    Scale(factor=1.0, symbol='furlongs')

    """
    unit = parse_unit(unit_name)
    if unit is None or unit == UNKNOWN:
        return Scale(1.0, unit_name if unit is None else "unit unknown")
    if unit.name in _FIELD:
        symbol, factor = _FIELD[unit.name]
        return Scale(unit.conversion * factor, symbol)
    largest = abs(largest) * unit.conversion
    power = 3 * floor(log10(largest) / 3) if largest > 0 and isfinite(largest) else 0
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    symbol = unit_symbol(Unit(unit.name)) or unit.name
    # 10.0**-power is exact for the prefixes, where 1 / 10.0**power is not.
    return Scale(unit.conversion * 10.0**-power, _PREFIXES[power] + symbol)


def time_scale(span: float) -> Scale:
    """Choose how to show times (s) that span so many seconds: milliseconds below two seconds."""
    return Scale(1.0, "s") if span >= 2 else Scale(1e3, "ms")
