"""A GoogLeNet for CIFAR-10 with an eighth of the channels: 0.1 million weights, max pools.

mlcnn train examples.small_googlenet:network --data cifar10 --epochs 10 --lr 0.1 --warmup 0.5
"""

from torch import nn

from mlcnn.zoo import Pooling
from mlcnn.zoo.googlenet import GoogLeNet

__all__ = ["network"]


def network() -> nn.Module:
    """Logits (batch, 10) from images (batch, 3, 32, 32); not trained."""
    return GoogLeNet(10, Pooling.MAX, narrower=8)
