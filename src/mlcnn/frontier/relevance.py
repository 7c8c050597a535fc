"""Which channels an image needs whose class is one of a few: selective activation [SeFAct 2019].

The authors' text says what is left out and not how it is chosen; this is a reconstruction. A first
head names candidates. A channel's relevance for a class is what the margin of the class over the
strongest other one would lose without it, to first order: the channel times the margin's
derivative, summed over positions. The channels that an image needs are those of its candidates.
"""

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["active", "candidates", "class_means", "covering", "relevances"]

Flags = NDArray[np.bool_]
Floats = NDArray[np.floating]


def relevances(values: Floats, gradients: Floats) -> Floats:
    """What the margin would lose without a channel, to first order, shape (images, channels).

    Args:
        values: shape (images, channels, height, width).
        gradients: of the margin by them.
    """
    return np.abs((values * gradients).sum((2, 3)))


def class_means(found: Floats, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """The mean relevance for each class, shape (classes, channels).

    Args:
        found: shape (images, channels).
        labels: shape (images,).
        classes: how many.

    Raises:
        InputError: a class without an image, or relevances that are not finite.
    """
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise InputError(f"class {int(counts.argmin())} has no image: nothing is known of it")
    if not np.isfinite(found).all():
        raise InputError("the relevance of a channel is not finite")
    sums = np.zeros((classes, found.shape[1]))
    np.add.at(sums, labels, found)
    return sums / counts[:, None]


def _share(value: float, name: str) -> float:
    if not 0 < value <= 1:
        raise InputError(f"{name} {value:g}: a share above 0 and at most 1 is required")
    return value


def _smallest(weights: Floats, share: float) -> Flags:
    """In each row the fewest entries, the largest first, whose sum is a share of the row's."""
    order = np.argsort(-weights, 1, kind="stable")
    sums = np.take_along_axis(weights, order, 1).cumsum(1)
    # An entry is needed while those in front of it are too little; all are where all must be.
    before = np.concatenate([np.zeros((len(weights), 1)), sums[:, :-1]], 1)
    needed = before < share * sums[:, -1:] * (1 - 1e-12)
    found = np.zeros(weights.shape, bool)
    np.put_along_axis(found, order, needed, 1)
    return found


def covering(relevance: Floats, tau: float) -> Flags:
    """The fewest channels that hold a share of each class's relevance, shape (classes, channels).

    Args:
        relevance: shape (classes, channels), none negative.
        tau: above 0, at most 1: then all channels of any relevance.
    """
    return _smallest(relevance, _share(tau, "tau"))


def candidates(probabilities: Floats, beta: float) -> Flags:
    """The fewest classes with so much probability together, shape (images, classes).

    Args:
        probabilities: of a head, shape (images, classes).
        beta: above 0, at most 1: then all classes that are possible.
    """
    return _smallest(probabilities, _share(beta, "beta"))


def active(chosen: Flags, needed: Flags) -> Flags:
    """The channels that any candidate needs, shape (images, channels).

    Args:
        chosen: candidates, shape (images, classes).
        needed: shape (classes, channels).
    """
    return (chosen.astype(np.int32) @ needed.astype(np.int32)) > 0
