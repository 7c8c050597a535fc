"""An array of slices that leave out zero weights, and form the maps of shared kernels by the way.

A *window* of inputs, a few channels with all that a position reads of them, is held in registers
in front of all slices. Of each filter only the non-zeros come in, each with the index of its place
in the window, behind their number. A slice keeps those of a window in registers of its own and
goes through them, as many at a time as it has multipliers; a multiplexer in front of each selects
the input. All slices wait for the one that has most: that is counted from the mask of the layer,
filter by filter and window by window.

A unit between DRAM and the buffer may form the maps of shared kernels, once for all filters; the
slices then run a 1x1 layer over these. Without it such a layer runs as the dense one that it
stands for. Any layer runs dense where that is faster.

Sources: the organisation is that of the engines that select the inputs of compressed weights
(Cambricon-X, MICRO 2016), as we recall it. Our assumptions, none of them from a publication of the
shared kernels, which has no hardware: windows, registers and multiplexers as above; a multiplexer's
energy; the unit for the basis, in the place of MLCNN's box sums; maps are rounded to the machine's
precision; chunks of a layer even out over its steps.

Not modelled beside what an array does not: zeros of the inputs, filters sorted so that those side
by side have alike many weights, and windows that no slice needs (they pass like others).
"""

from mlcnn.accelerators.sparse.area import SparseArea, sparse_area
from mlcnn.accelerators.sparse.energy import Activity, activity, sparse_energy
from mlcnn.accelerators.sparse.execution import Skipping, SkippingMaps
from mlcnn.accelerators.sparse.file import SparseFile
from mlcnn.accelerators.sparse.machine import SparseArray
from mlcnn.accelerators.sparse.occupancy import Occupancy
from mlcnn.accelerators.sparse.unit import Sparsity

__all__ = [
    "Activity",
    "Occupancy",
    "Skipping",
    "SkippingMaps",
    "SparseArea",
    "SparseArray",
    "SparseFile",
    "Sparsity",
    "activity",
    "sparse_area",
    "sparse_energy",
]
