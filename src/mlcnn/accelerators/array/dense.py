"""The dense array: inputs are stored as they come; pools run behind the accumulators."""

from dataclasses import dataclass
from typing import ClassVar

from mlcnn.accelerators.array.machine import Array
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import LayerTask

__all__ = ["DenseArray"]


@dataclass(frozen=True, slots=True)
class DenseArray(Array):
    """An array whose input unit does nothing but scale."""

    kind: ClassVar[str] = "dense"

    def ways(self, task: LayerTask) -> tuple[Work, ...]:
        """The layer as it is."""
        return (self.plain(task),)
