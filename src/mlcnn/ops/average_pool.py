"""The method of [MLCNN]: an average pool and the convolution before it become one operator."""

from mlcnn.ops.box import Box, BoxDepthwise
from mlcnn.ops.expanded import Expanded
from mlcnn.ops.matmul import MatMul
from mlcnn.ops.matvec import MatVec
from mlcnn.ops.method import Method
from mlcnn.ops.pool_first import PoolFirst

__all__ = ["AVERAGE_POOL"]

AVERAGE_POOL = Method(
    name="average-pool",
    forms=(Box(), BoxDepthwise(), Expanded(), PoolFirst(), MatVec(), MatMul()),
    summary="an average pool and the convolution before it as one operator",
)
