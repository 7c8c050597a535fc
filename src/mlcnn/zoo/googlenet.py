"""GoogLeNet (Szegedy et al. 2015) for 32x32: batch norm, two 3x3 for each 5x5 convolution."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling, conv_stride, make_pool

__all__ = ["GoogLeNet"]


@dataclass(frozen=True, slots=True)
class _Widths:
    """Output channels of the convolutions of one inception module; ``r*`` reduce by 1x1."""

    b1: int
    r2: int
    b2: int
    r3: int
    b3: int
    b4: int

    def narrower(self, times: int) -> "_Widths":
        """The same module with so many times fewer channels."""
        return _Widths(*(getattr(self, field.name) // times for field in fields(self)))

    @property
    def total(self) -> int:
        return self.b1 + self.b2 + self.b3 + self.b4


_MODULES = {
    "a3": _Widths(64, 96, 128, 16, 32, 32),
    "b3": _Widths(128, 128, 192, 32, 96, 64),
    "a4": _Widths(192, 96, 208, 16, 48, 64),
    "b4": _Widths(160, 112, 224, 24, 64, 64),
    "c4": _Widths(128, 128, 256, 24, 64, 64),
    "d4": _Widths(112, 144, 288, 32, 64, 64),
    "e4": _Widths(256, 160, 320, 32, 128, 128),
    "a5": _Widths(256, 160, 320, 32, 128, 128),
    "b5": _Widths(384, 192, 384, 48, 128, 128),
}
_POOLED = ("b3", "e4")  # a pool follows these modules


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


class _Inception(nn.Module):
    def __init__(self, inputs: int, widths: _Widths, stride: int) -> None:
        super().__init__()
        self.b1 = nn.Sequential(*_convolution(inputs, widths.b1, 1, stride))
        self.b2 = nn.Sequential(
            *_convolution(inputs, widths.r2, 1),
            *_convolution(widths.r2, widths.b2, 3, stride),
        )
        self.b3 = nn.Sequential(
            *_convolution(inputs, widths.r3, 1),
            *_convolution(widths.r3, widths.b3, 3),
            *_convolution(widths.b3, widths.b3, 3, stride),
        )
        # This pool keeps the size and stands before its convolution: a max in every form.
        self.b4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), *_convolution(inputs, widths.b4, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


class GoogLeNet(nn.Module):
    """Nine inception modules, 64 convolutions: 6,166,250 parameters for 10 classes.

    Args:
        classes: outputs.
        pooling: form of the pools behind ``b3`` and ``e4``.
        narrower: how many times fewer channels each convolution has, rounded down; 16 at most.
    """

    def __init__(self, classes: int, pooling: Pooling, narrower: int = 1) -> None:
        super().__init__()
        channels = 192 // narrower
        self.pre_layers = nn.Sequential(*_convolution(3, channels, 3))
        for name, full in _MODULES.items():
            widths = full.narrower(narrower)
            stride = conv_stride(pooling, 2) if name in _POOLED else 1
            self.add_module(name, _Inception(channels, widths, stride))
            channels = widths.total
            if name in _POOLED:
                self.add_module(f"pool_{name}", make_pool(pooling, 3, 2, padding=1))
        self.avgpool = nn.AvgPool2d(8, stride=1)
        self.flatten = Flatten(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        x = self.pre_layers(x)
        for name in _MODULES:
            x = self.get_submodule(name)(x)
            if name in _POOLED:
                x = self.get_submodule(f"pool_{name}")(x)
        return self.linear(self.flatten(self.avgpool(x)))
