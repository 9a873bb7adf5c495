"""Neurons over time, as an animation."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import ExportError, MissingDependencyError
from ndx_simulation_output.files import check_target, whole_file
from ndx_simulation_output.plots.canvas import new_figure
from ndx_simulation_output.plots.neurons import (
    draw_frame,
    limits_of,
    places_to_draw,
    report_in_space,
    sections_of,
)
from ndx_simulation_output.recording.reduced import read_frames

__all__ = ["save_animation"]

_MOST_FRAMES = 1000


def save_animation(
    source: Any,
    path: str | Path,
    cells: Iterable[int] | int | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    frames: int = 60,
    fps: int = 20,
    overwrite: bool = False,
) -> Path:
    """Write neurons in space over time to a GIF, or an MP4 where ffmpeg is installed.

    ``frames`` rows are shown, evenly spread over the window, each in one picture of which there are
    ``fps`` a second. Colours reach from the lowest to the highest value shown. The cells are those
    of :func:`neuron`.

    Raises
    ------
    ExportError
        If the name ends neither in ``.gif`` nor in ``.mp4``.
    NothingRecordedError
        If nothing says where the compartments are.
    CellNotFoundError
        If a cell id is not in the table.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written.
    MissingDependencyError
        If matplotlib is not installed, or ffmpeg for an MP4.

    Example
    -------
    >>> with open_output("run.nwb") as output:  # doctest: +SKIP
    ...     save_animation(output["v"], "neuron.gif", cells=3, stop=0.05)

    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    figure = new_figure(6.4, 4.8)
    writer = _writer(path, fps)
    report = report_in_space(source)
    places, note = places_to_draw(report, cells)
    shown = read_frames(
        report, places.columns, start=start, stop=stop, count=min(frames, _MOST_FRAMES)
    )
    ax = figure.add_subplot(projection="3d")
    drawn = draw_frame(ax, report, places, sections_of(source, report), limits_of(shown), note)
    with (
        whole_file(path, overwrite=overwrite) as temporary,
        writer.saving(figure, str(temporary), dpi=100),
    ):
        for time, values in zip(shown.times, shown.values, strict=True):
            drawn.show(ax, report, float(time), values)
            writer.grab_frame()
    return path


def _writer(path: Path, fps: int) -> Any:
    from matplotlib import animation

    if path.suffix == ".gif":
        return animation.PillowWriter(fps=fps)
    if path.suffix != ".mp4":
        msg = f"{path} is no name of an animation; expected one that ends in .gif or .mp4"
        raise ExportError(msg)
    if not animation.FFMpegWriter.isAvailable():
        msg = f"{path} needs ffmpeg, which is not installed; a name that ends in .gif needs nothing"
        raise MissingDependencyError(msg)
    return animation.FFMpegWriter(fps=fps)
