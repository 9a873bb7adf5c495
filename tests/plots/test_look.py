"""One look: colours that can be read, and colour maps whose limits tell the truth."""

import subprocess
import sys

import numpy as np
import pytest

from ndx_simulation_output.plots import look
from ndx_simulation_output.plots.look import DARK, LIGHT, color_scale, rgb


def luminance(color):
    parts = np.array(rgb(color)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_lines_and_text_can_be_read_on_the_ground(palette):
    assert min(contrast(color, palette.ground) for color in look.COLORS) >= 3
    assert min(contrast(palette.text, palette.ground), contrast(palette.faint, palette.ground)) > 5


SEEN = {
    "all colours": np.eye(3),
    "no green": [[0.367, 0.861, -0.228], [0.28, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""What people see of linear RGB who have all receptors, or lack one."""
TO_XYZ = np.array([[0.4339, 0.3762, 0.1899], [0.2127, 0.7152, 0.0722], [0.0178, 0.1094, 0.8728]])


@pytest.mark.parametrize("seen", SEEN)
def test_everybody_can_tell_the_colours_apart(seen):
    parts = np.array([rgb(color) for color in (*look.COLORS, look.OTHER_COLOR)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.clip(linear @ np.transpose(SEEN[seen]), 1e-3, 1) @ TO_XYZ.T).T
    lab = np.stack([116 * y, 500 * (x - y), 200 * (y - z)], axis=1)

    differences = np.linalg.norm(lab[:, np.newaxis] - lab, axis=2)

    assert differences[~np.eye(len(lab), dtype=bool)].min() > 15


def test_many_spikes_are_dark_on_a_light_ground_and_light_on_a_dark_one():
    light = [luminance(color) for color in LIGHT.shades("counts")]
    dark = [luminance(color) for color in DARK.shades("counts")]

    assert light == sorted(light, reverse=True)
    assert dark == sorted(dark)


@pytest.mark.parametrize(
    ("values", "unit", "variable", "name", "limits"),
    [
        ([-1.0, 3.0], "amperes", "ina", "signed", (-3, 3)),
        ([-1.0, 3.0], "A", "ina", "signed", (-3, 3)),
        ([-4.0, 3.0], "amperes per square meter", "ik", "signed", (-4, 4)),
        ([1.0, 3.0], "amperes", "ik", "values", (1, 3)),
        ([-1.0, -0.5], "unknown", "i_membrane", "signed", (-1, 1)),
        ([-0.07, 0.03], "volts", "v", "values", (-0.07, 0.03)),
        ([np.nan, 2.0, np.inf, 1.0], "", "", "values", (1, 2)),
        ([np.nan], "amperes", "", "values", (0, 0)),
    ],
)
def test_currents_are_signed_and_potentials_are_not(values, unit, variable, name, limits):
    found = color_scale(np.array(values), unit, variable)

    assert (found.name, (found.low, found.high), found.extend) == (name, limits, "neither")


@pytest.mark.parametrize(
    ("outliers", "extend"), [([50], "max"), ([-50], "min"), ([-50, 50], "both"), ([], "neither")]
)
def test_outliers_are_beyond_the_limits_and_told_of(outliers, extend):
    values = np.append(np.linspace(-1, 1, 2001), outliers)

    found = color_scale(values)

    assert found.extend == extend
    assert (found.low, found.high) == pytest.approx((-1, 1), abs=0.02)
    everything = color_scale(values, robust=False)
    assert (everything.low, everything.high) == (values.min(), values.max())


def test_the_look_needs_no_plot_library():
    imports = "import sys, ndx_simulation_output.plots.look"
    code = f"{imports}; print({{'matplotlib', 'bokeh'}} & {{*sys.modules}})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_settings_are_those_of_matplotlib():
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)

    with matplotlib.rc_context(look.settings(DARK)):
        assert matplotlib.rcParams["figure.facecolor"] == DARK.ground

    assert dict(matplotlib.rcParams) == before
