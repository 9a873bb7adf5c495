"""Units of what monitors recorded: ANNarchy says none."""

import warnings
from collections.abc import Mapping, Sequence

from ndx_simulation_output.errors import UnitError, UnitWarning
from ndx_simulation_output.recording import Report, Unit, parse_unit

__all__ = ["check_units", "parsed_units"]


def parsed_units(texts: Mapping[str, str] | None) -> dict[str, Unit]:
    """Give the units that a caller says, by variable.

    Raises
    ------
    UnitError
        If one is not understood.

    """
    return {name: _parsed(name, text) for name, text in (texts or {}).items()}


def check_units(reports: Sequence[Report], given: Mapping[str, Unit]) -> None:
    """Warn of units that are not known.

    Raises
    ------
    UnitError
        If one is given for a variable that there is not.

    """
    variables = {report.variable for report in reports}
    if unused := sorted(set(given) - variables):
        msg = f"there is no variable {unused[0]!r}; expected one of {sorted(map(str, variables))}"
        raise UnitError(msg)
    unknown = {report.variable for report in reports if not report.unit.known}
    if unsaid := sorted(map(str, unknown - set(given))):
        msg = (
            f"ANNarchy says no unit of {', '.join(unsaid)}: stored as unknown; say them with "
            f'unit={{"{unsaid[0]}": …}}, "1" for none'
        )
        warnings.warn(msg, UnitWarning, stacklevel=4)


def _parsed(name: str, text: str) -> Unit:
    unit = parse_unit(text)
    if unit is None:
        msg = f"the unit of {name} is {text!r}, which is not understood"
        raise UnitError(msg)
    return unit
