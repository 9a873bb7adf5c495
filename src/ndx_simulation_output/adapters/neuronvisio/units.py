"""Units of what NEURON records: the storage holds none, but NEURON defines those of its names."""

import re
import warnings
from collections.abc import Mapping

from ndx_simulation_output.adapters.neuronvisio.contents import SYNAPSES, VECTORS
from ndx_simulation_output.errors import UnitError, UnitWarning
from ndx_simulation_output.recording import UNKNOWN, Unit, parse_unit

__all__ = ["check_names", "seconds_of", "unit_of"]

_ION = "(?:na|k|ca|cl)"
_KNOWN = {
    VECTORS: (
        ("v|e_pas|el_hh", "mV"),
        (f"e{_ION}", "mV"),
        (f"i{_ION}|i_cap|i_pas|il_hh|i_membrane", "mA/cm2"),
        ("i_membrane_", "nA"),
        (f"{_ION}[io]", "mM"),
        ("g_pas|gl_hh|gna_hh|gk_hh|gnabar_hh|gkbar_hh", "S/cm2"),
        ("[mhn]_hh", "1"),
        ("cm", "uF/cm2"),
        ("diam", "um"),
    ),
    SYNAPSES: (("v|e", "mV"), ("i", "nA"), ("g", "uS")),
}


def unit_of(group: str, variable: str, names: tuple[str, ...], given: Mapping[str, str]) -> Unit:
    """Decide the unit of a variable: the caller's, else NEURON's, else unknown with a warning.

    ``names`` are those by which the caller may set it.

    Raises
    ------
    UnitError
        If the caller's unit is not understood.

    """
    for name in names:
        if name in given:
            return _parsed(name, given[name])
    for pattern, symbol in _KNOWN.get(group, ()):
        if re.fullmatch(pattern, variable):
            return parse_unit(symbol) or UNKNOWN
    warnings.warn(
        f"variable {variable!r} of group {group!r} has no unit; set it with --unit "
        f"{names[0]}=UNIT (unit={{{names[0]!r}: UNIT}}); stored as 'unknown'",
        UnitWarning,
        stacklevel=2,
    )
    return UNKNOWN


def seconds_of(group: str, given: Mapping[str, str], *, is_neurons: bool) -> float:
    """Give the factor from the unit of x of a group to seconds.

    It is NEURON's ms where x is NEURON's time; for another x there is a warning that it is assumed.

    Raises
    ------
    UnitError
        If the caller's unit is not one of time.

    """
    if group in given:
        unit = _parsed(group, given[group])
        if unit.name != "seconds":
            msg = f"the time unit of {group!r} is given as {given[group]!r}; expected s, ms or such"
            raise UnitError(msg)
        return unit.conversion
    if not is_neurons:
        warnings.warn(
            f"x of group {group!r} is taken for times in ms, as those of NEURON are; else set "
            f"--time-unit {group}=UNIT (time_unit={{{group!r}: UNIT}})",
            UnitWarning,
            stacklevel=2,
        )
    return 1e-3


def check_names(what: str, given: Mapping[str, str], known: set[str]) -> None:
    """Refuse options for names that do not occur.

    Raises
    ------
    UnitError
        If one does not.

    """
    for name in given:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            msg = f"there is no {name!r} whose {what} could be set; there are: {there}"
            raise UnitError(msg)


def _parsed(name: str, text: str) -> Unit:
    unit = parse_unit(text)
    if unit is None:
        msg = f"the unit of {name!r} is given as {text!r}, which is not one that is known"
        raise UnitError(msg)
    return unit
