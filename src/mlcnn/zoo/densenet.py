"""DenseNet-BC (Huang et al. 2017) for 32x32."""

import torch
from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling, conv_stride, make_pool

__all__ = ["densenet121", "densenet_cifar"]

_BLOCKS = (6, 12, 24, 16)


class _Bottleneck(nn.Module):
    """Batch norm, ReLU and convolution twice; the input is passed on beside the output."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(self.relu1(self.bn1(x)))
        return torch.cat([self.conv2(self.relu2(self.bn2(inner))), x], 1)


class _Transition(nn.Module):
    def __init__(self, inputs: int, outputs: int, pooling: Pooling) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(inputs, outputs, 1, conv_stride(pooling, 2), bias=False)
        self.pool = make_pool(pooling, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(self.relu(self.bn(x))))


class _DenseNet(nn.Module):
    def __init__(self, classes: int, pooling: Pooling, growth: int) -> None:
        super().__init__()
        channels = 2 * growth
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        stages: list[str] = []
        for index, layers in enumerate(_BLOCKS, start=1):
            block = [_Bottleneck(channels + i * growth, growth) for i in range(layers)]
            self.add_module(f"dense{index}", nn.Sequential(*block))
            stages.append(f"dense{index}")
            channels += layers * growth
            if index < len(_BLOCKS):
                self.add_module(f"trans{index}", _Transition(channels, channels // 2, pooling))
                stages.append(f"trans{index}")
                channels //= 2
        self._stages = tuple(stages)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.avgpool = nn.AvgPool2d(4)
        self.flatten = Flatten(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        x = self.conv1(x)
        for name in self._stages:
            x = self.get_submodule(name)(x)
        x = self.avgpool(self.relu(self.bn(x)))
        return self.linear(self.flatten(x))


def densenet_cifar(classes: int, pooling: Pooling) -> nn.Module:
    """Growth 12, blocks 6-12-24-16: 1,000,618 parameters for 10 classes."""
    return _DenseNet(classes, pooling, growth=12)


def densenet121(classes: int, pooling: Pooling) -> nn.Module:
    """Growth 32, blocks 6-12-24-16: 6,956,298 parameters for 10 classes."""
    return _DenseNet(classes, pooling, growth=32)
