"""Units are parsed in many spellings, and have the symbols of the field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.recording import UNKNOWN, Unit, parse_unit, unit_symbol

PREFIXES = {"": 1.0, "G": 1e9, "M": 1e6, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
NAMES = {
    "V": "volts",
    "A": "amperes",
    "S": "siemens",
    "s": "seconds",
    "Hz": "hertz",
    "Ohm": "ohms",
    "F": "farads",
    "C": "coulombs",
    "m": "meters",
}
OTHERS = ["M", "mM", "uM", "nM", "mA/cm2", "uA/cm2", "S/cm2", "mS/cm2", "uF/cm2", "degC", "1"]
SYMBOLS = [prefix + symbol for symbol in NAMES for prefix in PREFIXES] + OTHERS


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("symbol", NAMES)
def test_a_prefix_is_a_factor_to_the_si_unit(prefix, symbol):
    assert parse_unit(prefix + symbol) == Unit(NAMES[symbol], PREFIXES[prefix])


@given(symbol=st.sampled_from(SYMBOLS), blanks=st.sampled_from(["", " ", "\t"]))
def test_symbols_are_restored_from_their_units(symbol, blanks):
    unit = parse_unit(blanks + symbol + blanks)

    assert unit is not None
    assert unit_symbol(unit) == symbol


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("millivolts", "mV"),
        ("Volt", "V"),
        ("µV", "uV"),
        ("μV", "uV"),
        ("msec", "ms"),
        ("mA/cm^2", "mA/cm2"),
        ("mA/cm**2", "mA/cm2"),
    ],
)
def test_spellings_are_parsed(text, symbol):
    assert parse_unit(text) == parse_unit(symbol)
    assert parse_unit(symbol) is not None


@pytest.mark.parametrize("name", sorted({parse_unit(symbol).name for symbol in SYMBOLS}))
def test_the_names_of_units_in_nwb_files_are_parsed(name):
    assert parse_unit(name) == Unit(name)


@pytest.mark.parametrize("text", ["", "mR", "furlong", "MV mV", "VV", "mv", "v"])
def test_a_text_that_is_not_a_unit_is_none(text):
    assert parse_unit(text) is None


@pytest.mark.parametrize("text", ["unknown", " Unknown "])
def test_unknown_is_a_unit_that_is_not_known(text):
    assert parse_unit(text) == UNKNOWN
    assert not UNKNOWN.known
    assert Unit("volts").known


@pytest.mark.parametrize("unit", [UNKNOWN, Unit("volts", 0.5), Unit("volts", 1e-3, 1.0)])
def test_the_symbol_of_a_unit_without_one_is_none(unit):
    assert unit_symbol(unit) is None


def test_a_symbol_as_the_name_of_a_unit_is_parsed():
    assert unit_symbol(Unit("V", 1e-3)) == "mV"
