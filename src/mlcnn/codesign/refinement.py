"""A correction of the plain analysis' cycles by what it leaves out, fitted to measured ones.

The plain analysis overlaps everything: cycles are those of the slowest of the arithmetic and the
memories. A machine waits besides: for the memory at each tile, for the array at each load of
weights, for instructions. The refinement multiplies the plain cycles by a product of powers::

    log(cycles / plain) = w_0 + sum of w_i * log(feature_i)

fitted by ridge regression on standardised logarithms. So it keeps what scales, and a feature that
does not matter gets a power near 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.counts import count
from mlcnn.codesign.dosa import DosaRow
from mlcnn.codesign.scorer import latency_cycles
from mlcnn.workload import ConvLayer, loop_nest

__all__ = ["FEATURES", "Features", "Refinement", "features_of"]

Array = NDArray[np.float64]

FEATURES = {
    "plain": "cycles of the plain analysis",
    "compute": "cycles of the arithmetic alone: what is not overlapped",
    "weights": "words of weights from the outermost memory",
    "inputs": "words of inputs from it",
    "outputs": "words of outputs to it",
    "tiles": "iterations of the outermost level: a wait for the memory each",
    "loads": "loads of weights into the array: a fill and a drain, and instructions each",
    "elongation": "height over width of a convolution's output: it is measured as if square",
    "kernel": "taps of the kernel: convolutions go another way than products of matrices",
}
"""What the refinement looks at; all are at least 1."""

_RIDGE = 10.0
"""Weight of the squared coefficients, in rows of the table."""


@dataclass(frozen=True, slots=True)
class Features:
    """Mappings as the refinement sees them.

    Attributes:
        logs: shape (mappings, features), in the order of ``FEATURES``.
    """

    logs: Array

    @property
    def plain(self) -> Array:
        """Cycles of the plain analysis."""
        return np.rint(np.exp(self.logs[:, 0]))

    @property
    def compute(self) -> Array:
        """Cycles of the arithmetic."""
        return np.rint(np.exp(self.logs[:, 1]))

    def at(self, mask: NDArray[np.bool_]) -> "Features":
        """Some of the mappings."""
        return Features(self.logs[mask])


def features_of(rows: Sequence[DosaRow], machine: Architecture, rule: Convention) -> Features:
    """Features of mappings; what was measured is not looked at.

    Args:
        rows: the mappings.
        machine: the machine, of the levels of ``gemmini``.
        rule: what is counted.
    """
    values = np.ones((len(rows), len(FEATURES)))
    layers: dict[ConvLayer, list[int]] = {}
    for number, row in enumerate(rows):
        layers.setdefault(row.layer, []).append(number)
    for layer, numbers in layers.items():
        nest = loop_nest(layer)
        batch = Batch.of([rows[number].mapping for number in numbers], nest)
        counts = count(nest, batch, rule)
        weights, inputs, _ = counts.reads[0]
        outer, inner = batch.temporal[0].prod(0), batch.temporal[-1].prod(0)
        columns = (
            latency_cycles(machine, counts), counts.cycles, weights, inputs, counts.updates[0, 2],
            outer, counts.cycles / inner,
        )  # fmt: skip
        values[numbers, : len(columns)] = np.stack(columns, 1)
        if (taps := layer.R * layer.S) > 1:
            values[numbers, -2] = max(layer.P / layer.Q, layer.Q / layer.P)
            values[numbers, -1] = taps
    return Features(np.log(values))


@dataclass(frozen=True, slots=True)
class Refinement:
    """A fitted correction.

    Attributes:
        powers: of the features, shape (features,).
        factor: logarithm of what all are multiplied by.
    """

    powers: Array
    factor: float

    @classmethod
    def fit(cls, features: Features, measured: Array) -> "Refinement":
        """Fit to measured cycles.

        Args:
            features: of some mappings.
            measured: their cycles, shape (mappings,).
        """
        target = np.log(measured) - features.logs[:, 0]
        mean, spread = features.logs.mean(0), features.logs.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        scaled = (features.logs - mean) / spread
        normal = scaled.T @ scaled + _RIDGE * np.eye(len(FEATURES))
        powers = np.linalg.solve(normal, scaled.T @ (target - target.mean())) / spread
        return cls(powers, float(target.mean() - mean @ powers))

    def cycles(self, features: Features) -> Array:
        """Corrected cycles of mappings, shape (mappings,)."""
        return np.exp(features.logs[:, 0] + features.logs @ self.powers + self.factor)
