"""How far images may be left alone, and by what."""

from dataclasses import dataclass

from mlcnn.errors import InputError
from mlcnn.frontier import Budget

__all__ = ["SkipOptions"]

_CHOOSE_ON = ("auto", "validation", "test")
_METHODS = ("exit", "focus", "select", "bits", "bits+exit", "auto")


@dataclass(frozen=True, slots=True)
class SkipOptions:
    """How far, and by what.

    Attributes:
        max_drop: percentage points of accuracy that may be lost.
        objective: what is to be small on average: ``multiplications`` or ``energy``.
        exits: at most so many, 1 or 2.
        choose_on: images for the thresholds: ``validation``, ``test`` (half of them, the other half
            is reported), or ``auto``: ``test`` where the network knows the validation images.
        method: what is left out: what lies behind an ``exit`` that is sure of an image, or the
            positions that a mask of the image says do not matter, ``focus``; ``bits``, of which
            every layer has its own; ``bits+exit``; or of layers behind a head the channels that its
            candidate classes need, ``select``; ``auto``: what saves most, or two together.
        beside: path of a compressed network that exits and selections are compared with; empty for
            one with whole channels gone, nothing trained.
        keep: of ``focus``: share of the multiplications that masks keep while the network trains
            under them.
        compared: whether what was found is compared with other ways that cost as much.
    """

    max_drop: float = 1.0
    objective: str = "multiplications"
    exits: int = 1
    choose_on: str = "auto"
    method: str = "exit"
    beside: str = ""
    keep: float = 0.6
    compared: bool = True

    def __post_init__(self) -> None:
        Budget(self.max_drop)
        if self.objective not in {"multiplications", "energy"}:
            raise InputError(f"--objective {self.objective}: multiplications or energy is required")
        if self.method not in _METHODS:
            raise InputError(f"--method {self.method}: {', '.join(_METHODS)} are known")
        if self.method == "focus" and self.objective == "energy":
            raise InputError(
                "--objective energy: no accelerator here leaves out positions; --method focus "
                "takes multiplications"
            )
        if not 0 < self.keep < 1:
            raise InputError(f"--keep {self.keep:g}: a share between 0 and 1 is required")
        if self.exits not in {1, 2}:
            raise InputError(f"--exits {self.exits}: 1 or 2 are searched for")
        if self.choose_on not in _CHOOSE_ON:
            raise InputError(f"--choose-on {self.choose_on}: {', '.join(_CHOOSE_ON)} are known")
