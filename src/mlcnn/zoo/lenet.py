"""LeNet-5 (LeCun et al. 1998) with ReLU, for colour images of 32x32."""

from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling, conv_stride, make_pool

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """Two 5x5 convolutions with a 2x2 pool each, three dense layers: 62,006 parameters.

    Args:
        classes: outputs.
        pooling: form of the two pools.
    """

    def __init__(self, classes: int, pooling: Pooling) -> None:
        super().__init__()
        stride = conv_stride(pooling, 2)
        self.conv1 = nn.Conv2d(3, 6, 5, stride)
        self.relu1 = nn.ReLU()
        self.pool1 = make_pool(pooling, 2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5, stride)
        self.relu2 = nn.ReLU()
        self.pool2 = make_pool(pooling, 2, 2)
        self.flatten = Flatten(16 * 5 * 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu3(self.fc1(self.flatten(x)))
        return self.fc3(self.relu4(self.fc2(x)))
