"""Checks for nwbinspector: ``nwbinspector run.nwb --modules ndx_simulation_output.inspector``.

Importing this module registers the rules of :mod:`ndx_simulation_output.nwb.checks`, with names
such as ``check_simulation_ids_unique``. An error is critical; a warning is a violation of best
practice.
"""

from functools import wraps
from typing import Any

from ndx_simulation_output.errors import MissingDependencyError
from ndx_simulation_output.nwb.checks import INSPECTOR_PREFIX, RULES, Rule, severity_of

try:
    from nwbinspector import Importance, InspectorMessage, register_check
except ImportError as error:
    msg = "the checks need nwbinspector: pip install 'ndx-simulation-output[check]'"
    raise MissingDependencyError(msg) from error

__all__ = ["CHECKS"]


def _registered(rule: Rule, kind: type) -> Any:
    is_error = severity_of(rule) == "error"

    @wraps(rule)
    def check(item: Any) -> Any:
        return [InspectorMessage(message=message) for message in rule(item)] or None

    # The prefix avoids a clash with check_ids_unique of nwbinspector.
    check.__name__ = INSPECTOR_PREFIX + rule.__name__.removeprefix("check_")
    importance = Importance.CRITICAL if is_error else Importance.BEST_PRACTICE_VIOLATION
    return register_check(importance=importance, neurodata_type=kind)(check)


CHECKS = tuple(_registered(rule, kind) for kind, rules in RULES.items() for rule in rules)
"""The registered checks, in the order of the rules."""
