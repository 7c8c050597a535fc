"""The scorer with gradients: logarithms of factors in, latency, energy and constraints out.

What it counts is the convention ``exact-box``, of any nest, machine and keep mask. Beside DOSA
(Hong et al., MICRO 2023; ucb-bar/dosa a7a3239), the open model of this kind, it

* tells loops of one iteration by the class of orders, not by the values of factors: there a factor
  of exactly 1 drops out of the graph and gets no gradient;
* has each axis of the input with its own stride and dilation (there the strides of height and width
  change places, and tiles know no dilation), spatial factors inside the window, and halos at every
  step of every loop, not of the innermost one only;
* takes any levels, keep mask and spatial dimension, not those of a Gemmini alone;
* rounds up to blocks and to cycles where factors are whole, with the bits of the scorer in numpy.
"""

from mlcnn.codesign.matrix.constraints import Violations, violations
from mlcnn.codesign.matrix.form import MatrixForm
from mlcnn.codesign.matrix.hardware import Hardware
from mlcnn.codesign.matrix.orders import OrderClass
from mlcnn.codesign.matrix.scorer import (
    MatrixCounts,
    MatrixScore,
    log_factors,
    matrix_counts,
    matrix_score,
)

__all__ = [
    "Hardware",
    "MatrixCounts",
    "MatrixForm",
    "MatrixScore",
    "OrderClass",
    "Violations",
    "log_factors",
    "matrix_counts",
    "matrix_score",
    "violations",
]
