"""Multiplications and additions of a layer, before and after fusing it with its pool.

What is counted, the same for every column:

* One multiplication per weight and position, zeros of the padding included; n terms take n - 1
  additions. Per pooled output, the pool of the original takes k*k' - 1 additions.
* A maximum of two numbers is a comparison, a subtraction of which the sign is kept: a max pool
  counts as many as an average pool, and exchanging them moves no count.
* Bias, activation and batch norm are not counted, nor is the division by the window's size: it
  is folded into the weights, or a shift ([MLCNN] §VI).
* Sums of inputs are formed only where a window needs them. Stride, dilation, groups, rectangular
  kernels and pools that overlap or leave gaps are counted exactly: the tests execute Algorithm 1
  and count the same, operation by operation.
* Windows that padding or ``ceil_mode`` cuts off count as whole ones, in the original and in every
  fused column. This is the one place where the counts bound the arithmetic from above instead of
  equalling it: Algorithm 1 is not exact at such a border, and the rewritten network computes it
  with smaller windows.

The published per-layer figures and tables of [MLCNN] §V follow from these.
"""

from mlcnn.counting.bits import BitOperations, bit_operations
from mlcnn.counting.forms import (
    executed_multiplications,
    executed_operations,
    form_operations,
    nonzero_multiplications,
)
from mlcnn.counting.report import (
    Additions,
    CountReport,
    LayerCount,
    Multiplications,
    compare,
    count,
    count_layer,
)
from mlcnn.counting.reuse import Reuse, fused, original
from mlcnn.workload import Operations

__all__ = [
    "Additions",
    "BitOperations",
    "CountReport",
    "LayerCount",
    "Multiplications",
    "Operations",
    "Reuse",
    "bit_operations",
    "compare",
    "count",
    "count_layer",
    "executed_multiplications",
    "executed_operations",
    "form_operations",
    "fused",
    "nonzero_multiplications",
    "original",
]
