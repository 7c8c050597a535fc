"""An array of slices that keep weights still while inputs stream past them.

A slice keeps one weight in front of each of its multipliers while inputs stream past, adds the
products in a tree and accumulates them in its own bank. Next weights load meanwhile into second
registers. A layer is cut into tiles that the buffer holds; one chunk computes while the next one
comes in and the tile before leaves. There is a class for each kind of input unit: MLCNN forms box
sums between DRAM and the buffer, once for all filters, and computes at the pooled outputs only.

Not modelled: element-wise operators and pools that stand alone, DRAM refresh and page misses,
control, clock tree and wires.
"""

from mlcnn.accelerators.array.area import Area, area, static_power_mw
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.file import (
    ArrayFile,
    ArrayParts,
    array_document,
    load_array,
    read_array_design,
)
from mlcnn.accelerators.array.least import least_energy
from mlcnn.accelerators.array.machine import (
    Array,
    DenseArray,
    best,
    best_of,
    cost_of,
    costs_of,
    preferred,
    refused,
)
from mlcnn.accelerators.array.mlcnn import Boxes, MlcnnArray
from mlcnn.accelerators.array.search import BOUNDS, SLACK, Chosen
from mlcnn.accelerators.array.tiling import Tiling
from mlcnn.accelerators.array.traffic import ArrayOperations, Transfers, operations, transfers
from mlcnn.accelerators.array.variants import filling, sweep_cycles
from mlcnn.accelerators.array.winograd import Winograd, WinogradArray
from mlcnn.accelerators.array.work import PLAIN, Execution

__all__ = [
    "BOUNDS",
    "PLAIN",
    "SLACK",
    "Area",
    "Array",
    "ArrayDescription",
    "ArrayFile",
    "ArrayOperations",
    "ArrayParts",
    "Boxes",
    "Chosen",
    "DenseArray",
    "Execution",
    "MlcnnArray",
    "Tiling",
    "Transfers",
    "Winograd",
    "WinogradArray",
    "area",
    "array_document",
    "best",
    "best_of",
    "cost_of",
    "costs_of",
    "filling",
    "least_energy",
    "load_array",
    "operations",
    "preferred",
    "read_array_design",
    "refused",
    "static_power_mw",
    "sweep_cycles",
    "transfers",
]
