"""What tests of pictures have in common: no window opens, and no figure stays."""

import pytest


@pytest.fixture(autouse=True)
def no_window():
    """Draw without windows, and let go of all figures."""
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
