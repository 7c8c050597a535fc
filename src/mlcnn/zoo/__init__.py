"""The networks of the papers, with random or trained weights."""

from mlcnn.zoo.checkpoint import load_weights
from mlcnn.zoo.loading import build, load
from mlcnn.zoo.pooling import Pooling
from mlcnn.zoo.registry import Normalisation, ZooEntry, describe, names

__all__ = [
    "Normalisation",
    "Pooling",
    "ZooEntry",
    "build",
    "describe",
    "load",
    "load_weights",
    "names",
]
