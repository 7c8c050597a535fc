"""How much of the space of objectives a set of designs dominates, by moocore.

Objectives are taken by their logarithms. They have different units and span decades, and what
counts is by which factor one design is better than another: twice the latency is as bad at 1 ms as
at 100 ms, whereas a linear volume is made by the slowest designs alone. Units do not matter so,
and a volume of 0.01 in two objectives is that of a rectangle 10 % by 10 % large. It depends on the
reference point, so it is told with that, and compared only where that is the same.
"""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcnn.errors import InputError

__all__ = ["hypervolume", "reference_behind"]

_MARGIN = 1.1


def reference_behind(values: ArrayLike, margin: float = _MARGIN) -> NDArray[np.float64]:
    """A point behind a front: the largest value of each objective, times a margin.

    The margin gives the ends of a front a volume of their own. (Ishibuchi et al., "How to specify
    a reference point in hypervolume calculation", Evolutionary Computation 26(3), 2018.)

    Args:
        values: of the front that others are compared with, shape (designs, objectives).
        margin: above 1.

    Raises:
        InputError: there are no designs, or a value is not positive.
    """
    return _positive(values).max(0) * margin


def hypervolume(values: ArrayLike, reference: ArrayLike) -> float:
    """Volume of what some design is at least as good as, up to a reference point.

    Args:
        values: objectives that are made small, shape (designs, objectives); designs that others
            beat, or that are worse than the reference point in something, add nothing.
        reference: a value of each objective.

    Raises:
        InputError: there are no designs, a value is not positive, or the reference point is of
            other objectives.

    Example:
        >>> from math import e
        >>> round(hypervolume([[1, e], [e, 1]], [e**2, e**2]), 9)
        3.0
    """
    points = _positive(values)
    behind = _positive(np.atleast_2d(reference))[0]
    if points.shape[1] != len(behind):
        raise InputError(
            f"a reference point of {len(behind)} objectives for designs of {points.shape[1]}; "
            "give a value of each objective"
        )
    return float(moocore.hypervolume(np.log(points), ref=np.log(behind)))


def _positive(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not array.size:
        raise InputError(
            f"objectives of shape {array.shape}; (designs, objectives) with at least one of each "
            "are required"
        )
    if not ((array > 0) & np.isfinite(array)).all():
        raise InputError(
            f"objectives from {array.min():g} to {array.max():g}; they are compared by their "
            "logarithms, so they must be positive and finite"
        )
    return array
