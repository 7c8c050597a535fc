"""VGG (Simonyan and Zisserman 2015): with batch norm at 32x32, as published at 224x224."""

from torch import Tensor, nn

from mlcnn.zoo.flatten import Flatten
from mlcnn.zoo.pooling import Pooling, conv_stride, make_pool

__all__ = ["vgg16", "vgg16_224", "vgg19"]

# Output channels of the 3x3 convolutions of each stage; a 2x2 pool ends every stage.
_Stages = tuple[tuple[int, ...], ...]
_VGG16: _Stages = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
_VGG19: _Stages = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)


def _features(stages: _Stages, pooling: Pooling, *, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for widths in stages:
        for index, width in enumerate(widths):
            last = index == len(widths) - 1
            stride = conv_stride(pooling, 2) if last else 1
            layers.append(nn.Conv2d(channels, width, 3, stride, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        layers.append(make_pool(pooling, 2, 2))
    return nn.Sequential(*layers)


class _VGG(nn.Module):
    def __init__(self, features: nn.Sequential, outputs: int, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.flatten = Flatten(outputs)
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        return self.classifier(self.flatten(self.features(x)))


def vgg16(classes: int, pooling: Pooling) -> nn.Module:
    """VGG-16 at 32x32, batch norm, one dense layer: 14,728,266 parameters for 10 classes."""
    return _VGG(_features(_VGG16, pooling, batch_norm=True), 512, nn.Linear(512, classes))


def vgg19(classes: int, pooling: Pooling) -> nn.Module:
    """VGG-19 at 32x32, batch norm, one dense layer: 20,040,522 parameters for 10 classes."""
    return _VGG(_features(_VGG19, pooling, batch_norm=True), 512, nn.Linear(512, classes))


def vgg16_224(classes: int, pooling: Pooling) -> nn.Module:
    """VGG-16 at 224x224, no batch norm: 138,357,544 parameters for 1000 classes."""
    classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, classes),
    )
    return _VGG(_features(_VGG16, pooling, batch_norm=False), 512 * 7 * 7, classifier)
