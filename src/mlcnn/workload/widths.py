"""Bits that the codes of a network take: fewer than those of the type that they are stored in.

ONNX has whole numbers of 2, 4, 8 and 16 bits. Codes of 5 bits are stored as 8 that never leave the
range of 5: weights are what they are, and a ``Clip`` in front of ``QuantizeLinear`` bounds values.
"""

import onnx_ir as ir

from mlcnn.graph import QUANTIZE, constant, is_quantiser, is_standard

__all__ = ["rounded_width", "stored_width"]


def stored_width(value: ir.Value) -> int:
    """Bits of the widest of the numbers that a network keeps, as two's complement.

    Args:
        value: a constant, as it is kept: codes, where it is dequantised.

    Returns:
        The bits of the type for floats and unsigned codes, whose zero point is not known here.
    """
    tensor = value.const_value
    dtype = value.dtype if tensor is None else tensor.dtype
    if dtype is None or not dtype.is_integer() or not dtype.is_signed():
        return 32 if dtype is None else dtype.bitwidth
    if tensor is None or not tensor.size:
        return dtype.bitwidth
    codes = tensor.numpy()
    low, high = int(codes.min()), int(codes.max())
    return max(max(high, 0).bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1


def rounded_width(codes: ir.Value) -> int | None:
    """Bits of the codes that a ``QuantizeLinear`` gives; None where none gives them.

    Those of the type, or fewer where a ``Clip`` with constant ends leaves out some of its codes.
    """
    node = codes.producer()
    if node is None or not is_quantiser(node, QUANTIZE) or codes.dtype is None:
        return None
    whole = codes.dtype.bitwidth
    clip = None if node.inputs[0] is None else node.inputs[0].producer()
    if clip is None or clip.op_type != "Clip" or not is_standard(clip):
        return whole
    step = constant(node.inputs[1])
    ends = [constant(value) for value in clip.inputs[1:3]]
    if step is None or step.size != 1 or len(ends) < 2:
        return whole
    low, high = ends
    if low is None or high is None:
        return whole
    levels = round(float(high) / float(step)) - round(float(low) / float(step))
    return max(min(levels.bit_length(), whole), 1)
