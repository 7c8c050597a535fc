"""Networks with weights and activations of few bits: calibrated, or trained with the rounding."""

from mlcnn.training.quantisation.activations import InputRange
from mlcnn.training.quantisation.dorefa import WeightRange
from mlcnn.training.quantisation.grid import Grid, check_bits
from mlcnn.training.quantisation.observers import OBSERVERS
from mlcnn.training.quantisation.placement import Means
from mlcnn.training.quantisation.post_training import (
    LEAST_IMAGES,
    Calibrated,
    Candidate,
    Setting,
    calibrate,
    divergence,
    folded,
)

__all__ = [
    "LEAST_IMAGES",
    "OBSERVERS",
    "Calibrated",
    "Candidate",
    "Grid",
    "InputRange",
    "Means",
    "Setting",
    "WeightRange",
    "calibrate",
    "check_bits",
    "divergence",
    "folded",
]
