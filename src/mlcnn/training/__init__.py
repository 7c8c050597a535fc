"""Data sets, recipes, training and accuracy."""

from mlcnn.training.accuracy import accuracy, check_labels, logits, right_images
from mlcnn.training.checkpoint import save_weights
from mlcnn.training.data import Data, Images, TooFewImagesError, normal_for, open_data, read_images
from mlcnn.training.formats import DATASETS, load_dataset
from mlcnn.training.hardware import (
    Hardware,
    Precision,
    Processes,
    processes,
    require_device,
    set_threads,
)
from mlcnn.training.hooks import (
    Group,
    Groups,
    Hook,
    Masks,
    Penalty,
    Phase,
    Phases,
    Step,
    Teacher,
)
from mlcnn.training.images import ImageSet, Normal
from mlcnn.training.loop import Epoch, History, train
from mlcnn.training.recipe import Optimizer, Recipe
from mlcnn.training.sample import load_sample
from mlcnn.training.statistics import reestimate

__all__ = [
    "DATASETS",
    "Data",
    "Epoch",
    "Group",
    "Groups",
    "Hardware",
    "History",
    "Hook",
    "ImageSet",
    "Images",
    "Masks",
    "Normal",
    "Optimizer",
    "Penalty",
    "Phase",
    "Phases",
    "Precision",
    "Processes",
    "Recipe",
    "Step",
    "Teacher",
    "TooFewImagesError",
    "accuracy",
    "check_labels",
    "load_dataset",
    "load_sample",
    "logits",
    "normal_for",
    "open_data",
    "processes",
    "read_images",
    "reestimate",
    "require_device",
    "right_images",
    "save_weights",
    "set_threads",
    "train",
]
