"""Sparse arrays from their YAML files."""

from pydantic import NonNegativeInt, PositiveInt

from mlcnn.accelerators.array import ArrayParts, DenseArray
from mlcnn.accelerators.border import Document
from mlcnn.accelerators.sparse.machine import SparseArray
from mlcnn.accelerators.sparse.unit import Sparsity

__all__ = ["SparseFile"]


class _Sparsity(Document):
    window_words: PositiveInt
    port_words: PositiveInt
    index_bits: PositiveInt
    basis_multipliers: NonNegativeInt = 0


class SparseFile(ArrayParts):
    """What the file holds; the type ``sparse`` of the machines: a dense array's parts, and more."""

    sparsity: _Sparsity

    def to_domain(self) -> SparseArray:
        """The machine.

        Raises:
            InputError: two of its numbers do not fit each other.
        """
        array = self.make(DenseArray.kind)
        return SparseArray(array, Sparsity(**self.sparsity.model_dump()))
