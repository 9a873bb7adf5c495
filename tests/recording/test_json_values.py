"""Python values become JSON and are restored, or become text."""

import json
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from ndx_simulation_output.recording.json_values import from_json, to_json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.longdouble(1.5), 1.5),
        (np.clongdouble(1 + 2j), 1 + 2j),
        (pd.Timestamp("2026-01-02 03:04"), datetime(2026, 1, 2, 3, 4)),  # noqa: DTZ001
        (np.ma.masked_array([1, 2], [False, True]), "[1 --]"),
    ],
    ids=repr,
)
def test_values_of_other_packages_become_python_values(value, expected):
    back = from_json(json.loads(json.dumps(to_json({"value": value}))))

    assert back == {"value": expected}
    assert type(back["value"]) is type(expected)


def test_an_array_of_long_floating_point_numbers_keeps_its_type():
    values = np.array([0.5, 2.0], np.longdouble)

    back = from_json(json.loads(json.dumps(to_json(values))))

    assert back.dtype == values.dtype
    assert back.tolist() == values.tolist()
