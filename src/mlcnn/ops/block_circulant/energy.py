"""How much of a weight its projection keeps, and what that becomes when channels change places."""

import numpy as np
from numpy.typing import NDArray

from mlcnn.ops.block_circulant.operator import Blocks, wrapped_sums

__all__ = ["KeptEnergy"]


class KeptEnergy:
    """The share of a weight's energy that its projection keeps.

    The energy of a projected block is the sum over its wrapped diagonals of ``sum^2 / entries``, so
    two entries that change places change the sums of the blocks that they are in and no others.

    Args:
        weight: shape (filters, channels / groups, ...), of one group where channels change places.
        blocks: how it is divided.
        transposed: whether ``swap`` counts axes of the transposed weight.
    """

    def __init__(
        self, weight: NDArray[np.float64], blocks: Blocks, *, transposed: bool = False
    ) -> None:
        sums, entries = wrapped_sums(weight, blocks)
        # By lag first, with all taps in one axis: (k, G p, q, taps).
        self._sums = np.moveaxis(sums.reshape(*sums.shape[:3], -1), 2, 0).copy()
        self._entries = np.maximum(np.moveaxis(entries, 2, 0), 1)[..., None]
        self._energy = max(float((weight**2).sum()), 1e-300)
        self._transposed = transposed
        rows, columns, size = sums.shape[:3]
        padded = np.zeros((size * rows, size * columns, self._sums.shape[-1]))
        padded[: weight.shape[0], : weight.shape[1]] = weight.reshape(*weight.shape[:2], -1)
        # Outputs and inputs by place in a block and block: (k, p, k, q, taps).
        self._weight = padded.reshape(size, rows, size, columns, -1)
        self._lags = np.subtract.outer(np.arange(size), np.arange(size)) % size

    @property
    def share(self) -> float:
        """0 to 1."""
        return float((self._sums**2 / self._entries).sum()) / self._energy

    def swap(self, axis: int, first: int, second: int) -> float:
        """Let two outputs (axis 0) or inputs (axis 1) change places; the share gained."""
        inputs = (axis == 1) != self._transposed
        blocks = self._weight.shape[3 if inputs else 1]
        there, here = divmod(first, blocks), divmod(second, blocks)
        entries = self._weight.transpose(2, 3, 0, 1, 4) if inputs else self._weight
        change = entries[here] - entries[there]
        entries[there] += change
        entries[here] -= change
        gained = self._add(there, change, inputs=inputs) + self._add(here, -change, inputs=inputs)
        return gained / self._energy

    def _add(self, place: tuple[int, int], change: NDArray[np.float64], *, inputs: bool) -> float:
        """Add to the entries of one output or input: (k, blocks across, taps); the energy gained.

        Args:
            place: in its block, and the block.
            change: of its entries.
            inputs: whether it is an input.
        """
        within, block = place
        lags = self._lags[:, within] if inputs else self._lags[within]
        where = (lags, slice(None), block) if inputs else (lags, block)
        before = self._sums[where]
        self._sums[where] = before + change
        return float((change * (2 * before + change) / self._entries[where]).sum())
