"""What a branch reads of a quantised network: codes, which it takes for numbers itself.

Numbers that codes stand for must not pass into a branch: ONNX Runtime moves quantisers through
pools and reshapes towards those who read them, and ends the whole process where one of these is
an ``If`` (1.31; what it moves is right elsewhere).
"""

from dataclasses import dataclass

import onnx_ir as ir

from mlcnn.graph import (
    DEQUANTIZE,
    MOVING,
    QUANTIZE,
    constant,
    is_constant,
    is_quantiser,
    is_standard,
)

__all__ = ["Door", "door_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Door:
    """The codes of a value, and how they are taken for numbers again.

    Attributes:
        codes: of each number.
        outside: nodes that make them, for the outer graph; none where they are there.
        like: the node that takes such codes for numbers.
    """

    codes: ir.Value
    outside: tuple[ir.Node, ...]
    like: ir.Node

    def numbers(self, codes: ir.Value) -> ir.Node:
        """A node that takes codes like these for numbers.

        Args:
            codes: of this value, or of some of its images.
        """
        return ir.node(DEQUANTIZE, [codes, *self.like.inputs[1:]], dict(self.like.attributes))


def door_of(value: ir.Value) -> Door | None:
    """How a value passes into a branch as codes; None where none stand for it."""
    node = value.producer()
    while node is not None and node.op_type in MOVING and is_standard(node):
        source = node.inputs[0]
        node = None if source is None else source.producer()
    if node is None or not is_quantiser(node, DEQUANTIZE):
        return None
    codes, step = node.inputs[0], constant(node.inputs[1])
    if codes is None or is_constant(codes) or step is None:
        return None
    if step.ndim:  # a step for each channel: they may have moved
        return None
    if value is node.outputs[0]:
        return Door(codes, (), node)
    rounded = ir.node(QUANTIZE, [value, *node.inputs[1:]], dict(node.attributes))
    made = rounded.outputs[0]
    made.shape, made.type = value.shape, codes.type
    return Door(made, (rounded,), node)
