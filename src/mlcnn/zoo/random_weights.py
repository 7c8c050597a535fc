"""Random weights that hide nothing: no channel dies, no layer's output vanishes or explodes.

A network with untrained weights of the usual kind maps every image to nearly the same output, and
with batch norm at mean 0 and variance 1 a wrong fold changes nothing. Here every statistic is
random, and one pass over random images scales each layer by a power of two, so that its output
has a standard deviation between 0.7 and 1.4 (layer-sequential unit variance: Mishkin and Matas
2016). Powers of two make the weights the same whatever rounding the machine does in that pass.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["randomize"]

_BATCH = 2
# The part of each filter's mean that is taken off. Behind a ReLU every input is positive: filters
# whose weights sum to something make the same output for every image, layer after layer (Brock,
# De and Smith 2021). Some of it stays, or a constant image would be hidden too.
_CENTRED = 0.8


def randomize(module: nn.Module, input_shape: tuple[int, int, int], seed: int) -> None:
    """Set every parameter and buffer of ``module`` at random; in place, eval mode afterwards.

    The global random state of torch is neither read nor changed.

    Args:
        module: made of ``Conv2d``, ``Linear``, ``BatchNorm2d`` and modules without parameters.
        input_shape: (channels, height, width).
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    module.eval()
    with torch.no_grad():
        for layer in _weighted(module):
            _set_weights(layer, generator)
        for norm in _norms(module):
            _set_statistics(norm, generator)
        _scale_layers(module, torch.randn(_BATCH, *input_shape, generator=generator))


def _weighted(module: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    return (m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def _norms(module: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (m for m in module.modules() if isinstance(m, nn.BatchNorm2d))


def _set_weights(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    filters = layer.weight.normal_(generator=generator).flatten(1)
    filters -= _CENTRED * filters.mean(1, keepdim=True)
    bias = _bias(layer)
    if bias is not None:
        bias.normal_(std=0.2, generator=generator)


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor | None:
    return layer.bias


def _set_statistics(norm: nn.BatchNorm2d, generator: torch.Generator) -> None:
    norm.weight.uniform_(0.75, 1.25, generator=generator)
    norm.bias.normal_(std=0.2, generator=generator)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.normal_(std=0.2, generator=generator)
        norm.running_var.uniform_(0.5, 2.0, generator=generator)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.zero_()


def _scale_layers(module: nn.Module, images: Tensor) -> None:
    handles: list[RemovableHandle] = [
        layer.register_forward_hook(_scale_layer) for layer in _weighted(module)
    ]
    try:
        module(images)
    finally:
        for handle in handles:
            handle.remove()


def _scale_layer(layer: nn.Module, _arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Scale the layer's weight; what it would have returned with it goes on through the network."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return output
    bias = _bias(layer)
    shift = 0.0 if bias is None else bias.reshape(-1, *[1] * (output.ndim - 2))
    plain = output - shift
    scale = 2.0 ** -round(math.log2(float(plain.std())))
    layer.weight *= scale
    return plain * scale + shift
