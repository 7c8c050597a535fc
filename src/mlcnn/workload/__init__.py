"""A layer as a loop nest: what counting, cost models and accelerators read."""

from mlcnn.workload.layer import ConvAxis, ConvLayer, Pool, Window
from mlcnn.workload.reading import Uncounted, Workload, layers, read
from mlcnn.workload.sizes import InputShape, with_sizes

__all__ = [
    "ConvAxis",
    "ConvLayer",
    "InputShape",
    "Pool",
    "Uncounted",
    "Window",
    "Workload",
    "layers",
    "read",
    "with_sizes",
]
