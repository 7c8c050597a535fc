"""The networks of the papers, with random or trained weights."""

from mlcnn.zoo.checkpoint import load_weights
from mlcnn.zoo.loading import build, load, untrained
from mlcnn.zoo.pooling import Pooling
from mlcnn.zoo.registry import Normalisation, ZooEntry, describe, names, with_pooling
from mlcnn.zoo.tested import TestedPair, TrainingRun, load_tested

__all__ = [
    "Normalisation",
    "Pooling",
    "TestedPair",
    "TrainingRun",
    "ZooEntry",
    "build",
    "describe",
    "load",
    "load_tested",
    "load_weights",
    "names",
    "untrained",
    "with_pooling",
]
