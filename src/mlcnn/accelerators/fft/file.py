"""FFT engines from their YAML files."""

from typing import Literal

from pydantic import PositiveInt

from mlcnn.accelerators.array import ArrayParts, DenseArray
from mlcnn.accelerators.border import Document
from mlcnn.accelerators.fft.core import Core
from mlcnn.accelerators.fft.machine import FftEngine

__all__ = ["FftFile"]


class _Core(Document):
    words: PositiveInt
    largest_block: PositiveInt
    level_latency: PositiveInt
    products: Literal[3, 4]


class FftFile(ArrayParts):
    """What the file holds; the type ``fft`` of the machines: a dense array's parts, and a core."""

    core: _Core

    def to_domain(self) -> FftEngine:
        """The engine.

        Raises:
            InputError: two of its numbers do not fit each other.
        """
        array = self.make(DenseArray.kind)
        return FftEngine(array, Core(**self.core.model_dump()))
