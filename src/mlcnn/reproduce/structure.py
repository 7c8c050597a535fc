"""Networks of the zoo without values: they take time and do not matter for what is counted."""

import torch
from torch import Tensor, nn

from mlcnn import zoo
from mlcnn.workload import ConvLayer

__all__ = ["conv_layers", "parameters", "structure"]


def structure(name: str) -> nn.Module:
    """The modules of a network, in eval mode and on no device.

    Raises:
        InputError: the zoo has no network of this name.
    """
    entry = zoo.describe(name)
    with torch.device("meta"):
        return entry.definition(entry.classes, entry.pooling).eval()


def parameters(module: nn.Module) -> int:
    """All learned values."""
    return sum(parameter.numel() for parameter in module.parameters())


def conv_layers(name: str) -> list[ConvLayer]:
    """Convolutions and dense layers of a network in the order in which they run, for one image.

    Raises:
        InputError: the zoo has no network of this name.
    """
    module = structure(name)
    image = torch.empty((1, *zoo.describe(name).input_shape), device="meta")
    found: list[ConvLayer] = []
    names = {part: path for path, part in module.named_modules()}

    def convolution(part: nn.Conv2d, inputs: tuple[Tensor], _: Tensor) -> None:
        batch, channels, height, width = inputs[0].shape
        kernel, pads = part.weight.shape[2:], [int(pad) for pad in part.padding]
        found.append(
            ConvLayer(
                names[part], batch, part.out_channels, channels, height, width, *kernel,
                G=part.groups, strides=(part.stride[0], part.stride[1]),
                pads=(pads[0], pads[1], pads[0], pads[1]),
            )
        )  # fmt: skip

    def dense(part: nn.Linear, inputs: tuple[Tensor], _: Tensor) -> None:
        batch = inputs[0].shape[0]
        found.append(ConvLayer(names[part], batch, part.out_features, part.in_features, 1, 1, 1, 1))

    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(convolution)
        elif isinstance(part, nn.Linear):
            part.register_forward_hook(dense)
    with torch.no_grad():
        module(image)
    return found
