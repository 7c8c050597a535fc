"""A network of the zoo as a torch module or as an ONNX model."""

from pathlib import Path

import onnx_ir as ir
import torch
from torch import nn

from mlcnn.graph import from_module
from mlcnn.zoo.checkpoint import load_weights
from mlcnn.zoo.random_weights import randomize
from mlcnn.zoo.registry import ZooEntry, describe

__all__ = ["build", "load", "untrained"]


def build(name: str, *, seed: int = 0) -> nn.Module:
    """A network with random weights and running statistics, in eval mode.

    Args:
        name: see ``describe``.
        seed: the same seed gives the same weights; torch's global random state plays no part.

    Returns:
        The module; it maps ``(N, *input_shape)`` to ``(N, classes)``.

    Raises:
        InputError: for an unknown name.

    Example:
        >>> sum(parameter.numel() for parameter in build("lenet5").parameters())
        62006
    """
    entry = describe(name)
    module = _make(entry)
    randomize(module, entry.input_shape, seed)
    return module


def untrained(entry: ZooEntry) -> ir.Model:
    """A network as a model with weights that mean nothing, and its dropout: to be trained.

    Args:
        entry: see ``describe``; its classes may be replaced by any number.
    """
    module = _make(entry)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            # Another value for every tensor: the exporter must not take two for one.
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) % 7 / 7 + 0.1)
    return _exported(module, entry, dropout=True)


def load(
    name: str, *, weights: Path | None = None, seed: int = 0, dropout: bool = False
) -> ir.Model:
    """A network as a model: with given weights, else embedded trained ones, else random ones.

    Args:
        name: see ``describe``.
        weights: an ``.npz`` file of arrays by parameter name.
        seed: of the random weights.
        dropout: keep it, for training; see ``graph.from_module``.

    Raises:
        InputError: for an unknown name, or weights that cannot be read or do not fit.
    """
    entry = describe(name)
    source = weights if weights is not None else entry.weights
    if source is None:
        module = build(name, seed=seed)
    else:
        module = _make(entry)
        load_weights(module, source)
    return _exported(module, entry, dropout=dropout)


def _exported(module: nn.Module, entry: ZooEntry, *, dropout: bool) -> ir.Model:
    # Two images: one would make the exporter take the batch for a constant.
    return from_module(
        module, (torch.zeros(2, *entry.input_shape),), name=entry.name, dropout=dropout
    )


def _make(entry: ZooEntry) -> nn.Module:
    """The module without values, so that no initialisation draws from torch's global state."""
    with torch.device("meta"):
        module = entry.definition(entry.classes, entry.pooling)
    module = module.to_empty(device="cpu")
    for name, buffer in module.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.zero_()
    return module.eval()
