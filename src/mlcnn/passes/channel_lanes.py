"""What is known of channels: of a value, of a layer that mixes them, and inside of one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["Classes", "Floats", "Lanes", "Mix", "Shared", "alike"]

Classes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The channels of a value, along its axis 1.

    Attributes:
        classes: of each entry.
        fixed: the number that each entry is for all inputs; NaN where it varies.
    """

    classes: Classes
    fixed: Floats

    @property
    def size(self) -> int:
        """Entries."""
        return len(self.classes)

    def zeros_only(self) -> "Lanes":
        """The same behind what keeps zeros, and changes other numbers at a border."""
        return Lanes(self.classes, np.where(self.fixed == 0, 0.0, np.nan))

    def varying(self) -> "Lanes":
        """The same behind what leaves no channel one number."""
        return Lanes(self.classes, np.full(self.size, np.nan))


@dataclass(frozen=True, slots=True)
class Mix:
    """A layer that makes its outputs from all its inputs.

    Attributes:
        node: of it.
        source: what it reads.
        result: what it makes.
        depends: (outputs, inputs): whether an input's weights matter: not where they are zero, nor
            where the input is fixed and the bias can stand for it.
        folded: (outputs, inputs): what the bias takes over where an input goes.
        padded: whether it reads zeros beside its input.
        bias: which input of the node it is.
    """

    node: ir.Node
    source: Lanes
    result: Lanes
    depends: NDArray[np.bool_]
    folded: Floats
    padded: bool
    bias: int = 2


@dataclass(frozen=True, slots=True)
class Shared:
    """What all channels of a layer share, inside of it.

    Attributes:
        mix: the layer.
        inside: the shared ones.
        reads: (outputs, inputs, shared): whether an output has an input by a shared one.
    """

    mix: Mix
    inside: Lanes
    reads: NDArray[np.bool_]


def alike(listed: Sequence[Classes]) -> tuple[tuple[list[int], tuple[int, ...]], ...]:
    """Sets of classes that are equally often in each of some lists, and the lists' indices.

    Both, the sets and what is in them, stand in the order in which they come first.
    """
    seen: dict[int, list[tuple[int, int]]] = {}
    for index, classes in enumerate(listed):
        for item, count in Counter(classes.tolist()).items():
            seen.setdefault(item, []).append((index, count))
    found: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for item, where in seen.items():
        found.setdefault(tuple(where), []).append(item)
    return tuple((items, tuple(index for index, _ in where)) for where, items in found.items())
