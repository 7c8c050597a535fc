"""Which classes heads on the way exclude, and where an image leaves: one is left [Wang 2023].

A class is out where a head gives it less than a limit of its own, and stays out. The authors
(arXiv 2309.13443) train a sigmoid classifier for each class with the network, and exclude by one
parameter; here the classes share a softmax, and a class's limit is the probability that a share of
its own images stays below, on images that the network does not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["Excluded", "excluding", "limits"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Excluded:
    """What becomes of images.

    Attributes:
        left: at which head an image leaves; the number of heads where at none, shape (images,).
        said: the class that it is given, shape (images,).
    """

    left: NDArray[np.int64]
    said: NDArray[np.int64]


def limits(shares: Floats, labels: NDArray[np.int64], lost: float) -> Floats:
    """Below which probability a head excludes each class, shape (classes,).

    Args:
        shares: probabilities that a head gives, shape (images, classes).
        labels: shape (images,); every class among them.
        lost: share of a class's own images that may be excluded, 0 to 1.

    Raises:
        InputError: a class without an image.
    """
    classes = shares.shape[1]
    own = [shares[labels == each, each] for each in range(classes)]
    for number, each in enumerate(own):
        if not len(each):
            raise InputError(f"class {number} has no image: nothing is known of it")
    return np.array([np.quantile(each, lost) for each in own])


def excluding(heads: Sequence[Floats], below: Sequence[Floats], end: Floats) -> Excluded:
    """What becomes of images that leave where a single class is left.

    Where a head leaves none, it excludes nothing.

    Args:
        heads: what each says, shape (images, classes), in order.
        below: its limits, shape (classes,).
        end: the scores of the whole network, shape (images, classes).
    """
    kept = np.ones(end.shape, bool)
    left, said = np.full(len(end), len(heads)), np.zeros(len(end), np.int64)
    for number, (shares, limit) in enumerate(zip(heads, below, strict=True)):
        fewer = kept & (shares >= limit)
        kept = np.where(fewer.any(1, keepdims=True), fewer, kept)
        leaves = (left == len(heads)) & (kept.sum(1) == 1)
        left[leaves], said[leaves] = number, kept[leaves].argmax(1)
    stays = left == len(heads)
    said[stays] = np.where(kept, end, -np.inf)[stays].argmax(1)
    return Excluded(left, said)
