"""The network of local binary convolutions [LBCNN] with a learnt 3x3, at our sizes.

Blocks are those of the authors' code: batch norm, a 3x3 convolution to ``weights`` maps, ReLU, a
1x1 convolution back, and the identity beside it. Their networks have 10 to 75 of them, on whole
images; here a stem of stride 2 and a pool between two blocks keep one training within minutes.
"""

from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling

__all__ = ["local_binary"]

_CHANNELS, _WEIGHTS, _HIDDEN = 16, 64, 128


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(_CHANNELS)
        self.conv = nn.Conv2d(_CHANNELS, _WEIGHTS, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.pointwise = nn.Conv2d(_WEIGHTS, _CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(self.relu(self.conv(self.bn(x))))


class _LocalBinary(nn.Module):
    def __init__(self, classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        self.conv1 = nn.Conv2d(channels, _CHANNELS, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_CHANNELS)
        self.relu1 = nn.ReLU()
        self.block1 = _Block()
        self.pool1 = nn.AvgPool2d(2)
        self.block2 = _Block()
        self.pool2 = nn.AvgPool2d(2)
        features = _CHANNELS * (-(-height // 2) // 4) * (-(-width // 2) // 4)
        self.flatten = Flatten(features)
        self.fc1 = nn.Linear(features, _HIDDEN)
        self.relu2 = nn.ReLU()
        self.fc2 = nn.Linear(_HIDDEN, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, height, width)."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.pool2(self.block2(self.pool1(self.block1(x))))
        return self.fc2(self.relu2(self.fc1(self.flatten(x))))


def local_binary(
    classes: int, _pooling: Pooling, shape: tuple[int, int, int] = (3, 32, 32)
) -> nn.Module:
    """Two blocks of 16 channels and 64 maps; 55,226 parameters for 10 classes of 3x32x32."""
    return _LocalBinary(classes, shape)
