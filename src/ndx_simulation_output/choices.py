"""The values of options that are words, in Python and on the command line; it imports nothing."""

from typing import Literal, get_args

Access = Literal["balanced", "cells", "frames"]
"""The selection that is read most often: all times of some cells, all cells at a time, or both."""

Compression = Literal["auto", "gzip", "zstd", "none"]

DEFAULT_MEMORY = 2**26
"""Upper limit of all buffers in bytes."""

Dialect = Literal["allen", "bbp"]
"""Variant of SONATA: that of bmtk or of libsonata."""

DelayUnit = Literal["ms", "steps"]
"""Unit of the delays in a connectivity file: ms since ANNarchy 5.0, time steps before."""

How = Literal["mean", "max", "min"]
"""Reduction of the values in a pixel."""

PictureKind = Literal[
    "traces",
    "heat",
    "neuron",
    "raster",
    "rates",
    "channels",
    "weights",
    "matrix",
    "state",
    "arrays",
]
"""Kind of a plot: ``heat`` is a heat map, ``state`` shows quantities of the neurons of a state."""

KINDS: tuple[PictureKind, ...] = get_args(PictureKind)
"""All kinds of plots."""
