"""Heads of a trained network that stays as it is: linear classifiers, fitted to their end."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcnn.errors import InputError

__all__ = ["fit_linear", "region_means"]


def region_means(values: Tensor, grid: int) -> Tensor:
    """Averages over ``grid`` x ``grid`` regions, those of a channel side by side.

    Args:
        values: shape (N, C, H, W); rows and columns that are left over at the end count nowhere.
        grid: regions along height and along width.

    Returns:
        Shape (N, C * grid * grid).
    """
    height, width = (size // grid for size in values.shape[2:])
    inside = values[:, :, : height * grid, : width * grid]
    return torch.nn.functional.avg_pool2d(inside, (height, width)).flatten(1)


def fit_linear(
    features: Tensor, labels: NDArray[np.int64], classes: int, *, decay: float = 1e-3
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A linear classifier by cross entropy, with a penalty on its weights, to its minimum.

    Args:
        features: shape (images, features).
        labels: shape (images,).
        classes: number of scores.
        decay: half of it times the sum of squared weights, of features of unit variance, is added.

    Returns:
        Weight, shape (classes, features), and bias, shape (classes,).

    Raises:
        InputError: labels of one class alone.
    """
    if len(np.unique(labels)) < 2:
        raise InputError("a head needs images of at least two classes")
    wide = features.double()
    mean, scale = wide.mean(0), wide.std(0).clamp_min(1e-12)
    inputs, wanted = (wide - mean) / scale, torch.from_numpy(labels)
    weight = torch.zeros(classes, wide.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = inputs @ weight.T + bias
        value = torch.nn.functional.cross_entropy(scores, wanted)
        value = value + decay / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        plain = weight / scale
        return plain.float().numpy(), (bias - plain @ mean).float().numpy()
