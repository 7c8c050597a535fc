"""Data sets, recipes, training and accuracy."""

from mlcnn.training.accuracy import accuracy, check_labels
from mlcnn.training.checkpoint import save_weights
from mlcnn.training.data import Data, Images, normal_for, open_data, read_images
from mlcnn.training.formats import DATASETS, load_dataset
from mlcnn.training.images import ImageSet, Normal
from mlcnn.training.loop import Epoch, train
from mlcnn.training.recipe import Recipe
from mlcnn.training.sample import load_sample

__all__ = [
    "DATASETS",
    "Data",
    "Epoch",
    "ImageSet",
    "Images",
    "Normal",
    "Recipe",
    "accuracy",
    "check_labels",
    "load_dataset",
    "load_sample",
    "normal_for",
    "open_data",
    "read_images",
    "save_weights",
    "train",
]
