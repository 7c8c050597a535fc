"""The operators of the domain ``mlcnn``: forms of a convolution fused with an average pool.

Every operator is an ONNX function whose body is standard operators, so that a network that uses
them runs everywhere once its functions are inlined.
"""

from mlcnn.ops.box import Box, BoxDepthwise
from mlcnn.ops.emitter import DOMAIN, Emitter
from mlcnn.ops.expanded import Expanded
from mlcnn.ops.form import Form
from mlcnn.ops.geometry import (
    POOL_OPERATORS,
    Convolution,
    Pooling,
    average_pool_node,
    is_spatial_mean,
    read_convolution,
    read_pooling,
)
from mlcnn.ops.matmul import MatMul
from mlcnn.ops.matvec import MatVec
from mlcnn.ops.pool_first import PoolFirst

__all__ = [
    "DOMAIN",
    "FORMS",
    "POOL_OPERATORS",
    "Convolution",
    "Emitter",
    "Form",
    "Pooling",
    "average_pool_node",
    "is_spatial_mean",
    "read_convolution",
    "read_pooling",
]

FORMS: dict[str, Form] = {
    form.name: form for form in (Box(), BoxDepthwise(), Expanded(), PoolFirst(), MatVec(), MatMul())
}
"""Every form by name."""
