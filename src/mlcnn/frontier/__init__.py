"""Accuracy budgets, curves of accuracy against cost, and the search along them."""

from mlcnn.frontier.budget import Budget
from mlcnn.frontier.costs import amount, label
from mlcnn.frontier.curve import Cost, Frontier, Point, named
from mlcnn.frontier.layer_times import LayerTime, layer_times
from mlcnn.frontier.methods import (
    ALL,
    COMPRESSIONS,
    BasisTraining,
    Compression,
    Settings,
    compressions,
)
from mlcnn.frontier.search import bisect, smallest
from mlcnn.frontier.sizes import LayerSize, file_bytes, layer_sizes, peak_bytes

__all__ = [
    "ALL",
    "COMPRESSIONS",
    "BasisTraining",
    "Budget",
    "Compression",
    "Cost",
    "Frontier",
    "LayerSize",
    "LayerTime",
    "Point",
    "Settings",
    "amount",
    "bisect",
    "compressions",
    "file_bytes",
    "label",
    "layer_sizes",
    "layer_times",
    "named",
    "peak_bytes",
    "smallest",
]
