"""Arrays with axes: data that are no time series of compartments."""

from typing import Any

from hdmf.utils import AllowPositional, get_docval
from pynwb import register_class

from ndx_simulation_output.nwb.types.namespace import NAMESPACE, declare, generated, optional

__all__ = ["Axis", "DataWithAxes", "LabeledArray"]

_Axis: Any = generated("Axis")
_LabeledArray: Any = generated("LabeledArray")


@register_class("Axis", NAMESPACE)
class Axis(_Axis):  # type: ignore[misc]
    """The values of an independent variable along one dimension of arrays.

    Example
    -------
    >>> Axis(name="x", data=[0.0, 0.5, 1.25], label="time", unit="ms", index=0).unit
    'ms'

    """

    @declare(
        *optional(_Axis, description="An independent variable"),
        allow_positional=AllowPositional.ALLOWED,
    )
    def __init__(self, **kwargs: Any) -> None:
        """Make an axis of its values."""
        super().__init__(**kwargs)


@register_class("LabeledArray", NAMESPACE)
class LabeledArray(_LabeledArray):  # type: ignore[misc]
    """An array of any number of dimensions and any type.

    Example
    -------
    >>> LabeledArray(name="spikes", data=[2, 4, 6], label="times of the stimuli").label
    'times of the stimuli'

    """

    @declare(*get_docval(_LabeledArray.__init__), allow_positional=AllowPositional.ALLOWED)
    def __init__(self, **kwargs: Any) -> None:
        """Make an array of its values."""
        super().__init__(**kwargs)


# Made last: it holds the two others, and must find these classes rather than make its own.
_DataWithAxes: Any = generated("DataWithAxes")


@register_class("DataWithAxes", NAMESPACE)
class DataWithAxes(_DataWithAxes):  # type: ignore[misc]
    """Arrays and the axes that they share, as ``labeled_arrays`` and ``axis``, by their names.

    Example
    -------
    >>> import numpy as np
    >>> x = Axis(name="x", data=np.arange(3.0), unit="ms", index=0)
    >>> data = DataWithAxes(name="ca", labeled_arrays=[LabeledArray(name="y", data=np.ones(3))],
    ...                     axis=[x])
    >>> data.labeled_arrays["y"].data.shape
    (3,)

    """

    @declare(*get_docval(_DataWithAxes.__init__), allow_positional=AllowPositional.ALLOWED)
    def __init__(self, **kwargs: Any) -> None:
        """Make a container of arrays and axes."""
        super().__init__(**kwargs)
