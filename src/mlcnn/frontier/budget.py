"""What of a network's accuracy may be lost, and how much smaller it is to be."""

import re
from dataclasses import dataclass

from mlcnn.errors import InputError
from mlcnn.training.intervals import Difference

__all__ = ["Budget", "Target"]

# Half a point of 200 images is one image: a quotient must not decide.
_ROUNDING = 1e-9
_QUANTITIES = ("parameters", "multiplications")
_FORM = re.compile(r"(?:(?P<what>[a-z]+)=)?(?P<times>\d+(?:\.\d+)?)x")


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


@dataclass(frozen=True, slots=True)
class Target:
    """How much smaller a network is to be.

    Attributes:
        times: by this factor.
        quantity: ``parameters`` or ``multiplications``.
    """

    times: float
    quantity: str = "parameters"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """From ``4x``, ``parameters=4x`` or ``multiplications=3x``.

        Raises:
            InputError: it is neither, or no factor above 1.
        """
        found = _FORM.fullmatch(text)
        quantity = "parameters" if found is None else found["what"] or "parameters"
        if found is None or quantity not in _QUANTITIES or float(found["times"]) <= 1:
            raise InputError(
                f"--budget {text}: a factor above 1 is required, as in 4x, parameters=4x or "
                "multiplications=3x; for a budget of accuracy give --max-drop"
            )
        return cls(float(found["times"]), quantity)

    @property
    def share(self) -> float:
        """What is left, 0 to 1."""
        return 1 / self.times
