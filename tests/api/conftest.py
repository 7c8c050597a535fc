"""Two small torch modules, and the same as networks: exporting takes seconds, so it is shared."""

import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn

EXAMPLE = torch.zeros(2, 3, 8, 8)


def small(seed: int = 0, activation: nn.Module | None = None) -> nn.Module:
    """A convolution and an average pool, with an activation between them or not."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 3, padding=1), activation, nn.AvgPool2d(2), nn.ReLU()]
    return nn.Sequential(*(layer for layer in layers if layer is not None)).eval()


@pytest.fixture(scope="session")
def linear() -> ir.Model:
    """Convolution, average pool, ReLU: fused exactly."""
    return mlcnn.load(small(), EXAMPLE)


@pytest.fixture(scope="session")
def activated() -> ir.Model:
    """Convolution, ReLU, average pool, ReLU: fused only after an approximate pass."""
    return mlcnn.load(small(activation=nn.ReLU()), EXAMPLE)
