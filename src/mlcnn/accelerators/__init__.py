"""Machines as models: cycles, traffic, energy and area of the layers of a network.

A machine is whatever says which layers it takes, what they cost and how large it is; an array of
slices comes with the package. A network is compared on two of them, layer by layer, whatever they
are.
"""

from mlcnn.accelerators.border import Description, Document, is_file
from mlcnn.accelerators.comparison import (
    Evaluation,
    LayerComparison,
    Summary,
    compare,
    with_equal_precision,
)
from mlcnn.accelerators.conditional import Conditional
from mlcnn.accelerators.cost import Energy, Extremes, LayerCost, LayerTask, Taken, Traffic
from mlcnn.accelerators.loading import (
    accelerator_names,
    accelerator_text,
    equal_precision,
    load_accelerator,
)
from mlcnn.accelerators.machine import (
    Infeasible,
    Machine,
    MachineType,
    evaluate_layer,
    precision_of,
)
from mlcnn.accelerators.narrow import Narrow, scaling_told
from mlcnn.accelerators.network import LEFT_OUT, evaluate, network_tasks
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.registry import machine_types
from mlcnn.accelerators.technology import (
    DEFAULT_TECHNOLOGY,
    Technology,
    load_technology,
    technology_names,
)
from mlcnn.accelerators.two_networks import LayerPair, NetworkComparison, compare_networks

__all__ = [
    "DEFAULT_TECHNOLOGY",
    "LEFT_OUT",
    "Conditional",
    "Description",
    "Document",
    "Energy",
    "Evaluation",
    "Extremes",
    "Infeasible",
    "LayerComparison",
    "LayerCost",
    "LayerPair",
    "LayerTask",
    "Machine",
    "MachineType",
    "Narrow",
    "NetworkComparison",
    "Precision",
    "Summary",
    "Taken",
    "Technology",
    "Traffic",
    "accelerator_names",
    "accelerator_text",
    "compare",
    "compare_networks",
    "equal_precision",
    "evaluate",
    "evaluate_layer",
    "is_file",
    "load_accelerator",
    "load_technology",
    "machine_types",
    "network_tasks",
    "precision_of",
    "scaling_told",
    "technology_names",
    "with_equal_precision",
]
