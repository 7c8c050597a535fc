"""Weights that make every result meaningless."""

import logging

import numpy as np
import onnx_ir as ir

__all__ = ["warn_of_weights"]

_LOGGER = logging.getLogger(__name__)


def warn_of_weights(model: ir.Model, where: str) -> None:
    """Log a warning for every weight that holds NaN or infinity.

    A single infinity is no weight but a bound, as in a clip or a mask.

    Args:
        model: the network.
        where: the file or object it came from, for messages.
    """
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point() or tensor.size == 0:
            continue
        array = tensor.numpy()
        with np.errstate(all="ignore"):
            extremes = np.asarray([array.min(), array.max()], np.float64)
        found = "NaN" if np.isnan(extremes).any() else "infinite values"
        if np.isnan(extremes).any() or (np.isinf(extremes).any() and tensor.size > 1):
            _LOGGER.warning("%s: weight %r holds %s", where, value.name, found)
