"""Images of stripes, some hard to see, and a small network for them."""

import numpy as np
import torch
from torch import nn

from mlcnn import training

CLASSES = 3
SIZE = 12


class Net(nn.Module):
    """Three convolutions, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, 3, padding=1, stride=2)
        self.third = nn.Conv2d(16, 32, 3, padding=1)
        self.line = nn.Linear(32, CLASSES)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.third(torch.relu(self.second(x))))
        return self.line(x.mean((2, 3)))


def stripes(count):
    """Stripes of period 2, 3 or 4 from anywhere on; some are hardly to be seen."""
    rng = np.random.default_rng(4)
    labels, columns = rng.integers(0, CLASSES, count), np.arange(SIZE)
    images = rng.integers(0, 160, (count, 1, SIZE, SIZE))
    for index, label in enumerate(labels):
        period = label + 2
        lines = (columns + rng.integers(0, period)) % period == 0
        images[index] += lines * rng.integers(10, 90)
    return images.astype(np.uint8), labels


def taught(data):
    """The network, trained on such images."""
    torch.manual_seed(0)
    module = Net()
    recipe = training.Recipe(epochs=8, batch_size=64, crop=0, flip=False, learning_rate=0.05)
    training.train(module, data.training, recipe, normal=training.Normal())
    return module.eval()
