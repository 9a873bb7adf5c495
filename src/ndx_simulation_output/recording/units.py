"""Units: parsing, SI names and factors, and prefixes for display."""

from dataclasses import InitVar, dataclass, field
from fractions import Fraction
from math import floor, isfinite, log10
from numbers import Real
from typing import Any

from ndx_simulation_output.errors import UnitError


@dataclass(frozen=True)
class Unit:
    """A unit: stored value * ``conversion`` + ``offset`` is in the SI unit ``name``.

    A symbol without factor, such as ``V``, becomes the name, ``volts``. A name with a factor of its
    own, such as ``mV``, is refused, unless ``checked`` is False, for the units of files.

    Raises
    ------
    UnitError
        If the name is that of a multiple of an SI unit, or if factor or offset are not finite.

    Example
    -------
    >>> Unit("volts", 1e-3) == parse_unit("mV")
    True

    """

    name: str
    conversion: float = 1.0
    offset: float = 0.0
    checked: InitVar[bool] = field(default=True, kw_only=True)

    def __post_init__(self, checked: bool) -> None:
        """Check and normalize name, factor and offset."""
        if not checked:
            return
        if not isinstance(self.name, str) or not self.name.strip():
            msg = f"the name of a unit is {self.name!r}; expected that of an SI unit, as 'volts'"
            raise UnitError(msg)
        for what, value in (("factor", self.conversion), ("offset", self.offset)):
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not isfinite(value) or (what == "factor" and not value):
                msg = f"the {what} of unit {self.name!r} is {value!r}; expected a number"
                raise UnitError(msg)
        parsed = parse_unit(self.name) or self
        if parsed.conversion != 1.0 and parsed is not self:
            msg = (
                f"{self.name!r} is not the name of an SI unit; expected unit={self.name!r} or "
                f"Unit({parsed.name!r}, {parsed.conversion:g})"
            )
            raise UnitError(msg)
        object.__setattr__(self, "name", parsed.name)
        object.__setattr__(self, "conversion", float(self.conversion))
        object.__setattr__(self, "offset", float(self.offset))

    @property
    def known(self) -> bool:
        """True if the unit is known."""
        return self.name != UNKNOWN.name


UNKNOWN = Unit("unknown", checked=False)
"""The unit of values whose unit is not known."""

# Names follow the NWB core schema, which spells units out in the plural ('volts', 'amperes').
_SI_NAMES = {
    "V": "volts",
    "A": "amperes",
    "S": "siemens",
    "s": "seconds",
    "Hz": "hertz",
    "Ohm": "ohms",
    "F": "farads",
    "C": "coulombs",
    "m": "meters",
    "N": "newtons",
    "mol": "moles",
    "W": "watts",
    "J": "joules",
    "K": "kelvins",
    "T": "teslas",
    "Pa": "pascals",
    "rad": "radians",
}
_PREFIXES = {
    "": 1.0,
    "T": 1e12,
    "G": 1e9,
    "M": 1e6,
    "k": 1e3,
    "c": 1e-2,
    "m": 1e-3,
    "u": 1e-6,
    "n": 1e-9,
    "p": 1e-12,
    "f": 1e-15,
}


def _si(name: str, conversion: float = 1.0) -> Unit:
    return Unit(name, conversion, checked=False)


_OTHER = {
    # 1 mol/m^3 is 1 mmol/L: the SI unit of concentration is moles per cubic meter.
    "M": _si("moles per cubic meter", 1e3),
    "mM": _si("moles per cubic meter", 1.0),
    "uM": _si("moles per cubic meter", 1e-3),
    "nM": _si("moles per cubic meter", 1e-6),
    "mA/cm2": _si("amperes per square meter", 10.0),
    "uA/cm2": _si("amperes per square meter", 1e-2),
    "nA/um2": _si("amperes per square meter", 1e3),
    "S/cm2": _si("siemens per square meter", 1e4),
    "mS/cm2": _si("siemens per square meter", 10.0),
    "uF/cm2": _si("farads per square meter", 1e-2),
    "degC": _si("degrees Celsius"),
    "1": _si("1"),
}


def _known_units() -> dict[str, Unit]:
    units = {
        prefix + symbol: _si(name, factor)
        for symbol, name in _SI_NAMES.items()
        for prefix, factor in _PREFIXES.items()
    }
    return units | _OTHER


_UNITS = _known_units()
_SYMBOLS = {unit: symbol for symbol, unit in reversed(_UNITS.items())}
_NAMED = {unit.name.lower(): _si(unit.name) for unit in _UNITS.values()}
_SPELLINGS = {
    "volt": "V",
    "millivolt": "mV",
    "millivolts": "mV",
    "microvolt": "uV",
    "microvolts": "uV",
    "ampere": "A",
    "nanoampere": "nA",
    "nanoamperes": "nA",
    "second": "s",
    "sec": "s",
    "millisecond": "ms",
    "milliseconds": "ms",
    "msec": "ms",
    "dimensionless": "1",
}


def parse_unit(text: str) -> Unit | None:
    """Parse the ``text`` of a unit; return None if it is not a known unit.

    Example
    -------
    >>> parse_unit("mV")
    Unit(name='volts', conversion=0.001, offset=0.0)
    >>> parse_unit("mR") is None
    True

    """
    symbol = text.strip().replace("µ", "u").replace("μ", "u").replace("^", "").replace("**", "")
    if symbol.lower() == UNKNOWN.name:
        return UNKNOWN
    known = _UNITS.get(_SPELLINGS.get(symbol.lower(), symbol))
    return known or _NAMED.get(text.strip().lower())


def unit_ratio(found: str, expected: str) -> Fraction | None:
    """Return the factor that converts values from one unit to another; None if there is none.

    Units that are not known can only be converted to themselves. An empty unit is that of plain
    numbers.

    Example
    -------
    >>> unit_ratio("mV", "V")
    Fraction(1, 1000)
    >>> unit_ratio("A", "V") is None
    True

    """
    if found == expected:
        return Fraction(1)
    first, second = parse_unit(found or "1"), parse_unit(expected or "1")
    if first is None or second is None or not first.known or not second.known:
        return None
    if (first.name, first.offset) != (second.name, second.offset):
        return None
    # Factors are decimal, so that 1e-3 is a thousandth and not the nearest binary number.
    return Fraction(str(first.conversion)) / Fraction(str(second.conversion))


def as_unit(unit: Any, where: str) -> Unit:
    """Return a unit, or the text of one such as ``mV``, as ``Unit``; ``where`` names its owner.

    Example
    -------
    >>> as_unit("mV", "report 'v'")
    Unit(name='volts', conversion=0.001, offset=0.0)

    """
    found = parse_unit(unit) if isinstance(unit, str) else unit
    if not isinstance(found, Unit):
        msg = (
            f"the unit of {where} is {unit!r}; expected one such as 'mV' or 'nA', or "
            "Unit(name, factor)"
        )
        raise UnitError(msg)
    return found


def unit_label(unit: Unit) -> str:
    """Return the unit of stored values for a label, empty if it is unknown or a plain number.

    Example
    -------
    >>> unit_label(Unit("volts", 1e-3)), unit_label(Unit("furlongs", 2.0)), unit_label(UNKNOWN)
    ('mV', '2 furlongs', '')

    """
    if not unit.known or unit == Unit("1"):
        return ""
    named = unit.name if unit.conversion == 1.0 else f"{unit.conversion:g} {unit.name}"
    return unit_symbol(unit) or named


def unit_symbol(unit: Unit) -> str | None:
    """Return the symbol of a unit, such as ``mV``, or None if its factor or offset has none.

    Example
    -------
    >>> unit_symbol(Unit("volts", 1e-3))
    'mV'

    """
    by_name = Unit(_canonical_name(unit.name), unit.conversion, unit.offset, checked=False)
    return _SYMBOLS.get(by_name)


def _canonical_name(name: str) -> str:
    parsed = parse_unit(name)
    return parsed.name if parsed is not None and parsed.conversion == 1.0 else name


_DISPLAY_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_FIELD = {
    # 1 mol/m³ is 1 mM; densities are per square centimetre in neuroscience.
    "moles per cubic meter": ("mM", 1.0),
    "amperes per square meter": ("mA/cm²", 0.1),
    "siemens per square meter": ("S/cm²", 1e-4),
    "farads per square meter": ("µF/cm²", 100.0),
    "degrees Celsius": ("°C", 1.0),
    "1": ("", 1.0),
}


@dataclass(frozen=True)
class Scale:
    """Display scale: values are multiplied by ``factor``; ``symbol`` is empty for plain numbers."""

    factor: float
    symbol: str

    def label(self, what: str) -> str:
        """Return the label of an axis.

        Example
        -------
        >>> Scale(1e3, "mV").label("v")
        'v (mV)'

        """
        return f"{what} ({self.symbol})" if self.symbol else what


def display_scale(unit_name: str, largest: float) -> Scale:
    """Return the display scale for values in ``unit_name``, whose maximum is ``largest``.

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
    power = min(max(power, min(_DISPLAY_PREFIXES)), max(_DISPLAY_PREFIXES))
    symbol = unit_symbol(_si(unit.name)) or unit.name
    # 10.0**-power is exact for the prefixes, where 1 / 10.0**power is not.
    return Scale(unit.conversion * 10.0**-power, _DISPLAY_PREFIXES[power] + symbol)


def time_scale(span: float) -> Scale:
    """Return the scale for times (s) in a ``span`` of seconds: milliseconds below two seconds."""
    return Scale(1.0, "s") if span >= 2 else Scale(1e3, "ms")
