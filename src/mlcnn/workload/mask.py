"""Which weights of a layer are not zero, read from the network only when somebody asks."""

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["Mask"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Mask:
    """Zeros and others of a layer's largest weight.

    Attributes:
        weight: as the network keeps it.
        by_columns: whether a filter is a column of it, as in ``MatMul``, not a row.
    """

    weight: ir.TensorProtocol
    by_columns: bool = False

    def kept(self, *shape: int) -> Bools | None:
        """Where the weight is not zero.

        Args:
            shape: filters first, then what each has.

        Returns:
            An array of this shape; None where the weight has another number of filters or values.
        """
        found = self.weight.numpy() != 0
        found = found.T if self.by_columns else found
        if found.shape[0] != shape[0] or found.size != math.prod(shape):
            return None
        return found.reshape(shape)
