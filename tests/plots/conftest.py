"""Fixtures of the tests of plots: no window is opened, and all figures are closed."""

import pytest


@pytest.fixture(autouse=True)
def no_window():
    """Draw without windows, and close all figures."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    return Figure(figsize=(6, 4)).add_subplot()


@pytest.fixture
def space():
    from matplotlib.figure import Figure

    return Figure(figsize=(6, 4)).add_subplot(projection="3d")
