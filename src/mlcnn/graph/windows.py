"""How many windows a convolution or a pool has along one axis: the one rule, ONNX Runtime's.

ONNX's shape inference and its kernels differ on pools. The kernels, and PyTorch, drop a last window
that ``ceil_mode`` adds and that would start behind the input and its leading padding; inference
does so from opset 22 on only. Everything here follows the kernels (measured at opsets 9 to 23).
"""

__all__ = ["conv_outputs", "pool_outputs", "same_pads"]


def conv_outputs(size: int, extent: int, stride: int, before: int, after: int) -> int:
    """Number of windows of a convolution along one axis; 0 where none fits.

    Args:
        size: positions of the input.
        extent: positions that a window spans, first to last, dilation included.
        stride: step between windows.
        before: padding in front.
        after: padding behind.

    Example:
        >>> conv_outputs(32, 3, 2, 1, 1), conv_outputs(2, 3, 1, 0, 0)
        (16, 0)
    """
    return max((size + before + after - extent) // stride + 1, 0)


def pool_outputs(
    size: int, kernel: int, stride: int, before: int, after: int, *, ceil_mode: bool = False
) -> int:
    """Number of windows of a pool along one axis.

    Args:
        size: positions of the input.
        kernel: positions that a window spans, first to last, dilation included.
        stride: step between windows.
        before: padding in front.
        after: padding behind.
        ceil_mode: keep a last window that is only partly inside, if it starts in the input or in
            its leading padding.

    Returns:
        The number; 0 where ONNX Runtime refuses the pool, or returns nothing.

    Example:
        >>> pool_outputs(5, 2, 2, 1, 1), pool_outputs(5, 2, 2, 1, 1, ceil_mode=True)
        (3, 3)
        >>> pool_outputs(5, 3, 2, 0, 0), pool_outputs(6, 3, 2, 0, 0, ceil_mode=True)
        (2, 3)
    """
    span = size + before + after - kernel
    if ceil_mode:
        count = -(-span // stride) + 1
        count -= (count - 1) * stride >= size + before
    elif span < 0:
        count = 1 - -span // stride  # the kernels round towards zero
    else:
        count = span // stride + 1
    return max(count, 0)


def same_pads(
    size: int, kernel: int, stride: int, auto_pad: str, *, crops: bool = False
) -> tuple[int, int]:
    """Padding (before, after) that gives ``ceil(size / stride)`` outputs.

    Args:
        size: positions of the input.
        kernel: positions that a window spans. For a pool these are its elements, whatever its
            dilation: so ONNX Runtime pads pools, and a dilated one has fewer outputs then.
        stride: step between windows.
        auto_pad: ``SAME_UPPER`` or ``SAME_LOWER``.
        crops: where windows leave gaps and need less than the input, ONNX Runtime's pools leave
            out some of it in front too, rounding towards zero: then that padding is negative. Its
            convolutions begin at the first position.

    Example:
        >>> same_pads(5, 2, 2, "SAME_UPPER"), same_pads(5, 2, 2, "SAME_LOWER")
        ((0, 1), (1, 0))
        >>> same_pads(9, 1, 3, "SAME_UPPER", crops=True)
        (-1, 0)
    """
    total = (-(-size // stride) - 1) * stride + kernel - size
    total = total if crops else max(total, 0)
    before = int((total if auto_pad == "SAME_UPPER" else total + 1) / 2)
    return before, max(total - before, 0)
