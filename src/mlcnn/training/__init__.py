"""Data sets, recipes, training and accuracy."""

from mlcnn.training.accuracy import accuracy
from mlcnn.training.checkpoint import load_weights, save_weights
from mlcnn.training.images import DATASETS, ImageSet, load_dataset
from mlcnn.training.loop import Epoch, train
from mlcnn.training.recipe import Recipe

__all__ = [
    "DATASETS",
    "Epoch",
    "ImageSet",
    "Recipe",
    "accuracy",
    "load_dataset",
    "load_weights",
    "save_weights",
    "train",
]
