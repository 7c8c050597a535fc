"""AlexNet (Krizhevsky 2012, the one-column form of 2014) at 32x32 and 224x224."""

from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling, conv_stride, make_pool

__all__ = ["alexnet", "alexnet_224"]


def _features(pooling: Pooling, *, first_padding: int, pool_kernel: int) -> nn.Sequential:
    stride = conv_stride(pooling, 2)
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, conv_stride(pooling, 2, stride=4), padding=first_padding),
        nn.ReLU(),
        make_pool(pooling, pool_kernel, 2),
        nn.Conv2d(64, 192, 5, stride, padding=2),
        nn.ReLU(),
        make_pool(pooling, pool_kernel, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, stride, padding=1),
        nn.ReLU(),
        make_pool(pooling, pool_kernel, 2),
    )


class _AlexNet(nn.Module):
    def __init__(self, features: nn.Sequential, outputs: int, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.flatten = Flatten(outputs)
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        return self.classifier(self.flatten(self.features(x)))


def alexnet(classes: int, pooling: Pooling) -> nn.Module:
    """AlexNet at 32x32, 2x2 pools, one dense layer: 2,472,266 parameters for 10 classes."""
    features = _features(pooling, first_padding=5, pool_kernel=2)
    return _AlexNet(features, 256, nn.Linear(256, classes))


def alexnet_224(classes: int, pooling: Pooling) -> nn.Module:
    """AlexNet at 224x224, 3x3/2 pools: 61,100,840 parameters for 1000 classes."""
    classifier = nn.Sequential(
        nn.Dropout(),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, classes),
    )
    features = _features(pooling, first_padding=2, pool_kernel=3)
    return _AlexNet(features, 256 * 6 * 6, classifier)
