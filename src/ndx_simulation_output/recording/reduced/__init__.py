"""What a picture shows, in numbers: as many as it has pixels, whatever the size of the recording.

Each function reads only what is shown, in bounded memory, and takes a window of time and a number
of pixels; to zoom in is to call it again. What was left out or brought together stands in the
result.
"""

from ndx_simulation_output.recording.reduced.frames import Frame, Places, read_frames, read_places
from ndx_simulation_output.recording.reduced.grids import (
    Grid,
    GridAxis,
    export_grids,
    grids_of,
    own_grids,
)
from ndx_simulation_output.recording.reduced.heat import HeatMap, heat_map
from ndx_simulation_output.recording.reduced.networks import (
    Histogram,
    Matrix,
    histogram,
    label_of,
    neuron_quantities,
    neuron_quantity,
    synapse_quantities,
    synapse_quantity,
    weight_matrix,
)
from ndx_simulation_output.recording.reduced.rasters import Raster, Rates, spike_raster, spike_rates
from ndx_simulation_output.recording.reduced.series import (
    Lines,
    Recorded,
    reduce_columns,
    reduce_traces,
    sample,
    spread,
    stack_traces,
)

__all__ = [
    "Frame",
    "Grid",
    "GridAxis",
    "HeatMap",
    "Histogram",
    "Lines",
    "Matrix",
    "Places",
    "Raster",
    "Rates",
    "Recorded",
    "export_grids",
    "grids_of",
    "heat_map",
    "histogram",
    "label_of",
    "neuron_quantities",
    "neuron_quantity",
    "own_grids",
    "read_frames",
    "read_places",
    "reduce_columns",
    "reduce_traces",
    "sample",
    "spike_raster",
    "spike_rates",
    "spread",
    "stack_traces",
    "synapse_quantities",
    "synapse_quantity",
    "weight_matrix",
]
