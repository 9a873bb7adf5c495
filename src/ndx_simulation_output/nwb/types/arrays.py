"""Neurodata types for arrays with axes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pynwb import register_class

from ndx_simulation_output.nwb.arrays_reading import read_axis, read_group
from ndx_simulation_output.nwb.types.namespace import NAMESPACE, constructor, generated_class
from ndx_simulation_output.recording.array_groups import is_nav_group, to_xarray
from ndx_simulation_output.recording.display import html_summary

if TYPE_CHECKING:
    import xarray as xr

_Axis: Any = generated_class("Axis")
_LabeledArray: Any = generated_class("LabeledArray")


@register_class("Axis", NAMESPACE)
class Axis(_Axis):  # type: ignore[misc]
    """The values of an independent variable along one dimension of arrays.

    Example
    -------
    >>> Axis(name="x", data=[0.0, 0.5, 1.25], label="time", unit="ms", index=0).unit
    'ms'

    """

    @constructor(_Axis, {"description": "An independent variable"})
    def __init__(self, **kwargs: Any) -> None:
        """Create an axis."""
        super().__init__(**kwargs)


@register_class("LabeledArray", NAMESPACE)
class LabeledArray(_LabeledArray):  # type: ignore[misc]
    """An array with any number of dimensions and any dtype.

    Example
    -------
    >>> LabeledArray(name="spikes", data=[2, 4, 6], label="times of the stimuli").label
    'times of the stimuli'

    """

    @constructor(_LabeledArray)
    def __init__(self, **kwargs: Any) -> None:
        """Create an array."""
        super().__init__(**kwargs)


# Generated after the classes that it contains are registered.
_DataWithAxes: Any = generated_class("DataWithAxes")


@register_class("DataWithAxes", NAMESPACE)
class DataWithAxes(_DataWithAxes):  # type: ignore[misc]
    """Arrays with shared axes; ``labeled_arrays`` and ``axis`` map names to objects.

    Example
    -------
    >>> import numpy as np
    >>> x = Axis(name="x", data=np.arange(3.0), unit="ms", index=0)
    >>> data = DataWithAxes(name="ca", labeled_arrays=[LabeledArray(name="y", data=np.ones(3))],
    ...                     axis=[x])
    >>> data.labeled_arrays["y"].data.shape
    (3,)

    """

    @constructor(_DataWithAxes)
    def __init__(self, **kwargs: Any) -> None:
        """Create a container of arrays and axes."""
        super().__init__(**kwargs)

    def _plots(self) -> str:
        """Return plots as HTML; at most 16 MiB of an array are read."""
        return html_summary(read_group(self))

    def to_xarray(self) -> "xr.Dataset":
        """Return the arrays as variables and their axes as coordinates; all values are read.

        The navigation axes in the nearest group ``NavAxes`` are also coordinates.

        Raises
        ------
        MissingDependencyError
            If xarray is not installed.

        Example
        -------
        >>> import numpy as np
        >>> x = Axis(name="x", data=np.arange(3.0), label="time", unit="ms", index=0)
        >>> data = DataWithAxes(name="ca", axis=[x],
        ...                     labeled_arrays=[LabeledArray(name="y", data=np.ones(3))])
        >>> data.to_xarray()["y"].dims
        ('time',)

        """
        group = read_group(self)
        axes = [*group.axes, *map(read_axis, _nav_axes(self))]
        return to_xarray([array for array in group.arrays if array.role != "log"], axes)


_DataToExport: Any = generated_class("DataToExport")


@register_class("DataToExport", NAMESPACE)
class DataToExport(_DataToExport):  # type: ignore[misc]
    """A container of other data interfaces, which can also contain arrays and axes itself.

    Example
    -------
    >>> detector = DataToExport(name="Detector000", group_type="detector",
    ...                         nwb_data_interfaces=[DataWithAxes(name="CH00")])
    >>> list(detector.nwb_data_interfaces)
    ['CH00']

    """

    @constructor(_DataToExport)
    def __init__(self, **kwargs: Any) -> None:
        """Create a container of data interfaces, arrays and axes."""
        super().__init__(**kwargs)


_AxesTimeSeries: Any = generated_class("AxesTimeSeries")


@register_class("AxesTimeSeries", NAMESPACE)
class AxesTimeSeries(_AxesTimeSeries):  # type: ignore[misc]
    """An array with axes, whose first dimension is time in seconds.

    Example
    -------
    >>> AxesTimeSeries(name="EnlData00", data=[1.0, 2.0], unit="V", timestamps=[0.0, 0.1]).unit
    'V'

    """

    @constructor(_AxesTimeSeries)
    def __init__(self, **kwargs: Any) -> None:
        """Create a time series."""
        super().__init__(**kwargs)


def _nav_axes(data: Any) -> Iterator[Any]:
    """Yield the axes of the group ``NavAxes`` in a container or its nearest ancestor."""
    container = data
    while isinstance(container, DataWithAxes):
        for name, member in (getattr(container, "nwb_data_interfaces", None) or {}).items():
            if is_nav_group(name) and isinstance(member, DataWithAxes):
                yield from (member.axis or {}).values()
                return
        container = container.parent
