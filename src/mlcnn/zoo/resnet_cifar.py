"""ResNet (He et al. 2016) for 32x32: the wide one of 18 layers, the narrow ones of Sec. 4.2."""

from torch import Tensor, nn
from torch.nn import functional

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling

__all__ = ["resnet18", "resnet20", "resnet56"]


class _PaddedShortcut(nn.Module):
    """Option A: every second pixel, and channels of zeros before and behind; no parameters."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self._before = (outputs - inputs) // 2
        self._after = outputs - inputs - self._before

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[..., ::2, ::2], (0, 0, 0, 0, self._before, self._after))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Option B: a strided 1x1 convolution and batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, *, option_a: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (
                _PaddedShortcut(inputs, outputs)
                if option_a
                else _projection(inputs, outputs, stride)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


class _ResNet(nn.Module):
    def __init__(
        self, classes: int, widths: tuple[int, ...], blocks: int, *, option_a: bool
    ) -> None:
        super().__init__()
        channels = widths[0]
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self._stages = tuple(f"layer{index + 1}" for index in range(len(widths)))
        for index, (name, width) in enumerate(zip(self._stages, widths, strict=True)):
            stage: list[nn.Module] = []
            for block in range(blocks):
                stride = 2 if index > 0 and block == 0 else 1
                stage.append(_BasicBlock(channels, width, stride, option_a=option_a))
                channels = width
            self.add_module(name, nn.Sequential(*stage))
        self.avgpool = nn.AvgPool2d(32 >> (len(widths) - 1))
        self.flatten = Flatten(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        x = self.relu(self.bn1(self.conv1(x)))
        for name in self._stages:
            x = self.get_submodule(name)(x)
        return self.linear(self.flatten(self.avgpool(x)))


def resnet18(classes: int, _pooling: Pooling) -> nn.Module:
    """ResNet-18 at 32x32, 64 to 512 channels: 11,173,962 parameters for 10 classes."""
    return _ResNet(classes, (64, 128, 256, 512), blocks=2, option_a=False)


def resnet20(
    classes: int, _pooling: Pooling, widths: tuple[int, int, int] = (16, 32, 64)
) -> nn.Module:
    """ResNet-20 with option A shortcuts: 269,722 parameters for 10 classes, or of other widths."""
    return _ResNet(classes, widths, blocks=3, option_a=True)


def resnet56(classes: int, _pooling: Pooling) -> nn.Module:
    """ResNet-56 with option A shortcuts: 853,018 parameters for 10 classes."""
    return _ResNet(classes, (16, 32, 64), blocks=9, option_a=True)
