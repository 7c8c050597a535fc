"""A small network for CIFAR-10, in plain PyTorch: three pairs of convolutions, max pools between.

It is the network of the README's second example. `examples/small_vgg.onnx` holds what

    mlcnn train examples.small_vgg:network --data cifar10 --epochs 60 --lr 0.1 --warmup 2

came to.
"""

from torch import nn

__all__ = ["network"]


def _pair(inputs: int, outputs: int) -> list[nn.Module]:
    """Two 3x3 convolutions with batch norm."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return layers


def network(widths: tuple[int, int, int] = (32, 64, 96)) -> nn.Module:
    """Logits (batch, 10) from images (batch, 3, 32, 32); not trained.

    Args:
        widths: channels of each pair.
    """
    first, second, third = widths
    return nn.Sequential(
        *_pair(3, first),
        nn.MaxPool2d(2),
        *_pair(first, second),
        nn.MaxPool2d(2),
        *_pair(second, third),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, 10),
    )
