"""One way to make a network cheaper, as a step of a stack."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from mlcnn.api.stacking.lab import Folder, Lab
from mlcnn.frontier.stacks import Stackable

__all__ = ["Apply", "Kind", "Values"]

Values = Mapping[str, float]
Apply = Callable[[ir.Model, Values, Lab, Folder], ir.Model]


@dataclass(frozen=True, slots=True)
class Kind(Stackable):
    """A method, as a step.

    Attributes:
        summary: what it does, in a line.
        apply: the network after the step; what was trained is trained again from its checkpoint.
        trains: whether it trains; else images calibrate it, or nothing does.
        values: what it leaves open, by name, and what holds where nothing is said.
        least: the least value of each.
        most: the largest.
        settings: values that a search tries, the mildest first; those of ``values`` for none.
        between: whether values between these are settings, too.
    """

    summary: str
    apply: Apply
    trains: bool = False
    values: Values = field(default_factory=dict[str, float])
    least: Values = field(default_factory=dict[str, float])
    most: Values = field(default_factory=dict[str, float])
    settings: tuple[Values, ...] = ()
    between: bool = False
