"""How a network of the zoo shrinks its feature maps: max pools, average pools or strides."""

from enum import StrEnum

from torch import nn

__all__ = ["Pooling", "conv_stride", "make_pool"]


class Pooling(StrEnum):
    """The pools between a network's stages; its global pool is the same in every form."""

    MAX = "max"
    AVG = "avg"
    ALL_CONV = "all-conv"


def make_pool(pooling: Pooling, kernel: int, stride: int, padding: int = 0) -> nn.Module:
    """The pool of one stage, given its original geometry.

    An average pool's window is its stride: windows then neither overlap nor reach into padding,
    which would cost a fused layer its savings. Without a pool an identity stands in its place, so
    that the modules behind it keep their names.

    Args:
        pooling: the form.
        kernel: height and width of the original window.
        stride: distance of the windows.
        padding: zeros around the input of the original pool.
    """
    match pooling:
        case Pooling.MAX:
            return nn.MaxPool2d(kernel, stride, padding)
        case Pooling.AVG:
            return nn.AvgPool2d(stride, stride)
        case Pooling.ALL_CONV:
            return nn.Identity()


def conv_stride(pooling: Pooling, pool_stride: int, stride: int = 1) -> int:
    """Stride of the convolution before a pool: it takes the pool's where there is none."""
    return stride * pool_stride if pooling is Pooling.ALL_CONV else stride
