"""ResNet-18 and ResNet-50 (He et al. 2016) at 224x224; stride on the 3x3 convolution."""

from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling, conv_stride, make_pool

__all__ = ["resnet18_224", "resnet50_224"]

_WIDTHS = (64, 128, 256, 512)


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class _BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(inputs, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.downsample(x))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _downsample(inputs, outputs, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu1(self.bn1(self.conv1(x)))
        inner = self.relu2(self.bn2(self.conv2(inner)))
        return self.relu3(self.bn3(self.conv3(inner)) + self.downsample(x))


class _ResNet(nn.Module):
    def __init__(
        self,
        classes: int,
        pooling: Pooling,
        block: type[_BasicBlock | _Bottleneck],
        depths: tuple[int, int, int, int],
    ) -> None:
        super().__init__()
        channels = _WIDTHS[0]
        self.conv1 = nn.Conv2d(3, channels, 7, conv_stride(pooling, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.maxpool = make_pool(pooling, 3, 2, padding=1)
        self._stages = tuple(f"layer{index + 1}" for index in range(len(depths)))
        for name, width, depth in zip(self._stages, _WIDTHS, depths, strict=True):
            stage: list[nn.Module] = []
            for index in range(depth):
                stride = 2 if width != _WIDTHS[0] and index == 0 else 1
                stage.append(block(channels, width, stride))
                channels = width * block.expansion
            self.add_module(name, nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = Flatten(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 224, 224)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in self._stages:
            x = self.get_submodule(name)(x)
        return self.fc(self.flatten(self.avgpool(x)))


def resnet18_224(classes: int, pooling: Pooling) -> nn.Module:
    """ResNet-18 at 224x224: 11,689,512 parameters for 1000 classes."""
    return _ResNet(classes, pooling, _BasicBlock, (2, 2, 2, 2))


def resnet50_224(classes: int, pooling: Pooling) -> nn.Module:
    """ResNet-50 at 224x224: 25,557,032 parameters for 1000 classes."""
    return _ResNet(classes, pooling, _Bottleneck, (3, 4, 6, 3))
