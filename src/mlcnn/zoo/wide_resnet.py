"""Wide residual networks (Zagoruyko and Komodakis 2016) for 32x32: few layers, many channels."""

from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling

__all__ = ["wrn22_8"]


class _WideBlock(nn.Module):
    """Batch norm, ReLU and 3x3 convolution twice; the input, projected if its channels change.

    A projection reads what the first ReLU returns, as the first convolution does.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self._projects = inputs != outputs
        self.shortcut: nn.Module = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False) if self._projects else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.bn1(x))
        inner = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return inner + self.shortcut(active if self._projects else x)


class _WideResNet(nn.Module):
    """Three stages of 16, 32 and 64 times ``width`` channels; ``depth`` is 6 blocks + 4."""

    def __init__(self, classes: int, depth: int, width: int) -> None:
        super().__init__()
        channels = 16
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self._stages = ("layer1", "layer2", "layer3")
        for index, name in enumerate(self._stages):
            outputs = (16 << index) * width
            stage: list[nn.Module] = []
            for block in range((depth - 4) // 6):
                stride = 2 if index > 0 and block == 0 else 1
                stage.append(_WideBlock(channels, outputs, stride))
                channels = outputs
            self.add_module(name, nn.Sequential(*stage))
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.avgpool = nn.AvgPool2d(8)
        self.flatten = Flatten(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        x = self.conv1(x)
        for name in self._stages:
            x = self.get_submodule(name)(x)
        x = self.avgpool(self.relu(self.bn(x)))
        return self.linear(self.flatten(x))


def wrn22_8(classes: int, _pooling: Pooling) -> nn.Module:
    """WRN-22-8, 128 to 512 channels: 17,158,106 parameters for 10 classes."""
    return _WideResNet(classes, depth=22, width=8)
