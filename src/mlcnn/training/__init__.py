"""Data sets, recipes, training and accuracy."""

from mlcnn.training.accuracy import accuracy, check_labels
from mlcnn.training.checkpoint import save_weights
from mlcnn.training.images import DATASETS, ImageSet, load_dataset
from mlcnn.training.loop import Epoch, train
from mlcnn.training.recipe import Recipe
from mlcnn.training.sample import load_sample

__all__ = [
    "DATASETS",
    "Epoch",
    "ImageSet",
    "Recipe",
    "accuracy",
    "check_labels",
    "load_dataset",
    "load_sample",
    "save_weights",
    "train",
]
