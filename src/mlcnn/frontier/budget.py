"""What of a network's accuracy may be lost."""

from dataclasses import dataclass

from mlcnn.errors import InputError
from mlcnn.training.intervals import Difference

__all__ = ["Budget"]

# Half a point of 200 images is one image: a quotient must not decide.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget of accuracy.

    Attributes:
        max_drop: percentage points of top-1 accuracy that may be lost to the original, on the same
            images.
    """

    max_drop: float

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 100:
            raise InputError(
                f"--max-drop {self.max_drop:g}: percentage points from 0 to 100 are required"
            )

    def allows(self, change: Difference) -> bool:
        """Whether a network stays within it.

        Args:
            change: its accuracy less that of the original.
        """
        return 100 * change.top1 >= -self.max_drop - _ROUNDING

    def exceeded(self, change: Difference) -> bool:
        """Whether it is sure that a network does not: its whole interval lies below."""
        return 100 * change.interval[1] < -self.max_drop
