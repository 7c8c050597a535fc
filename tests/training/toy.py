"""A task that is learnt in a second: which third of a small image is bright."""

import numpy as np
import torch
from torch import nn

from mlcnn import training
from mlcnn.training import History, ImageSet, Normal, Recipe

RECIPE = Recipe(epochs=4, batch_size=16, learning_rate=0.05, crop=1, weight_decay=0)
NORMAL = Normal((0.5,), (0.5,))


def train(module: nn.Module, images: ImageSet, recipe: Recipe, **options) -> History:
    return training.train(module, images, recipe, normal=NORMAL, **options)


def toy_images(count: int = 60) -> ImageSet:
    """Three classes: which third of the image is bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = generator.integers(0, 60, (count, 1, 6, 6), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 150
    return ImageSet("toy", images, labels.astype(np.int64), 3)


def toy_module(seed: int = 7) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1),
            nn.Linear(64, 3),
        )  # fmt: skip
