"""Small networks and images for quantisation."""

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from mlcnn.graph import from_module

__all__ = ["CLASSES", "Residual", "images_of_classes", "residual"]

CLASSES = 4


class Residual(nn.Module):
    """Convolutions with batch norms, a max pool, a residual sum, a concatenation, a global pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.inner, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.side = nn.Conv2d(8, 4, 1)
        self.last, self.norm2 = nn.Conv2d(12, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.max_pool2d(torch.relu(self.norm0(self.stem(x))), 2)
        x = torch.relu(self.norm1(self.inner(x)) + x)
        x = torch.cat([x, torch.relu(self.side(x))], 1)
        x = torch.relu(self.norm2(self.last(x)))
        return self.head(x.mean((2, 3)))


def images_of_classes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one bright quarter, which is the class: (images, labels)."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.5, (count, 3, 16, 16)).astype(np.float32)
    labels = rng.integers(0, CLASSES, count)
    for image, label in zip(images, labels, strict=True):
        row, column = 8 * (label // 2), 8 * (label % 2)
        image[:, row : row + 8, column : column + 8] += 0.12 * (1 + np.arange(3)[:, None, None])
    return images, labels


def residual(seed: int = 0) -> ir.Model:
    """The network, its norms' statistics those of the images, its head fitted to the classes."""
    torch.manual_seed(seed)
    module = Residual()
    for norm in (module.norm0, module.norm1, module.norm2):
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.2)
    images, labels = images_of_classes(512, seed=9)
    given, wanted = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(given), wanted).backward()
        optimizer.step()
    return from_module(module.eval(), (torch.zeros(2, 3, 16, 16),))
