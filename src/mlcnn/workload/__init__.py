"""A layer as a loop nest: what counting, cost models and accelerators read."""

from mlcnn.workload.layer import ConvLayer, Pool, Window
from mlcnn.workload.reading import layer_nodes, layers
from mlcnn.workload.sizes import InputShape, with_sizes

__all__ = ["ConvLayer", "InputShape", "Pool", "Window", "layer_nodes", "layers", "with_sizes"]
