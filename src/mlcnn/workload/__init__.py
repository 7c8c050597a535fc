"""A layer as a loop nest: what counting, cost models and accelerators read."""

from mlcnn.workload.description import (
    DENSE,
    Activity,
    Arithmetic,
    Layer,
    Numbers,
    Stored,
    Weights,
)
from mlcnn.workload.gates import Gate, branches
from mlcnn.workload.grouping import density_of, ends, operand_bits, recorded
from mlcnn.workload.layer import ConvAxis, ConvLayer, Pool, Window
from mlcnn.workload.mask import Mask
from mlcnn.workload.nest import LoopNest, NestForm, Projection, Term, loop_nest
from mlcnn.workload.operations import Operations, Sum
from mlcnn.workload.reading import Uncounted, Workload, layers, read
from mlcnn.workload.record import RECORD_KEY, Record, read_record
from mlcnn.workload.sizes import InputShape, with_sizes
from mlcnn.workload.widths import rounded_width, spread_of, stored_width

__all__ = [
    "DENSE",
    "RECORD_KEY",
    "Activity",
    "Arithmetic",
    "ConvAxis",
    "ConvLayer",
    "Gate",
    "InputShape",
    "Layer",
    "LoopNest",
    "Mask",
    "NestForm",
    "Numbers",
    "Operations",
    "Pool",
    "Projection",
    "Record",
    "Stored",
    "Sum",
    "Term",
    "Uncounted",
    "Weights",
    "Window",
    "Workload",
    "branches",
    "density_of",
    "ends",
    "layers",
    "loop_nest",
    "operand_bits",
    "read",
    "read_record",
    "recorded",
    "rounded_width",
    "spread_of",
    "stored_width",
    "with_sizes",
]
