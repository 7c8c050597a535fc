"""The methods and their operators: forms of a layer, each with body, counts and estimate.

Every operator is an ONNX function whose body is standard operators, so that a network that uses
them runs everywhere once its functions are inlined.
"""

from mlcnn.graph import DOMAIN
from mlcnn.ops.amounts import untouched
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import (
    POOL_OPERATORS,
    Convolution,
    Pooling,
    average_pool_node,
    is_spatial_mean,
    read_convolution,
    read_pooling,
)
from mlcnn.ops.method import Form, Method
from mlcnn.ops.registry import find_form, forms, method_of, methods, read_layer

__all__ = [
    "DOMAIN",
    "POOL_OPERATORS",
    "Convolution",
    "Emitter",
    "Form",
    "Ints",
    "Method",
    "Pooling",
    "Tensor",
    "average_pool_node",
    "find_form",
    "forms",
    "function",
    "is_spatial_mean",
    "method_of",
    "methods",
    "op",
    "read_convolution",
    "read_layer",
    "read_pooling",
    "untouched",
]
