"""Accelerators as models: cycles, traffic, energy and area of the layers of a network.

A machine is an array of slices. A slice keeps one weight in front of each of its multipliers while
inputs stream past, adds the products in a tree and accumulates them in its own bank. Next weights
load meanwhile into second registers. A layer is cut into tiles that the buffer holds; one chunk
computes while the next one comes in and the tile before leaves. MLCNN forms box sums between DRAM
and the buffer, once for all filters, and computes at the pooled outputs only.

Not modelled: element-wise operators and pools that stand alone, DRAM refresh and page misses,
control, clock tree and wires.
"""

from mlcnn.accelerators.area import Area, area, static_power_mw
from mlcnn.accelerators.axis import Execution
from mlcnn.accelerators.comparison import (
    Comparison,
    LayerComparison,
    Summary,
    compare,
    with_equal_precision,
)
from mlcnn.accelerators.description import Accelerator, Kind, Precision
from mlcnn.accelerators.energy import Energy
from mlcnn.accelerators.evaluation import LayerCost, LayerTask, evaluate_layer
from mlcnn.accelerators.experiment import (
    SENSITIVITY,
    FusedLayers,
    SweepPoint,
    fused_layers_experiment,
    fused_tasks,
    sensitivity,
)
from mlcnn.accelerators.loading import (
    accelerator_names,
    accelerator_text,
    equal_precision,
    load_accelerator,
)
from mlcnn.accelerators.network import LEFT_OUT, evaluate, network_tasks
from mlcnn.accelerators.networks import PAPER_NETWORKS, paper_tasks
from mlcnn.accelerators.search import BOUNDS, SLACK, Chosen
from mlcnn.accelerators.technology import (
    DEFAULT_TECHNOLOGY,
    Technology,
    load_technology,
    technology_names,
)
from mlcnn.accelerators.tiling import Tiling
from mlcnn.accelerators.traffic import Executed, Traffic
from mlcnn.accelerators.two_networks import LayerPair, NetworkComparison, compare_networks
from mlcnn.accelerators.variants import filling, sweep_cycles

__all__ = [
    "BOUNDS",
    "DEFAULT_TECHNOLOGY",
    "LEFT_OUT",
    "PAPER_NETWORKS",
    "SENSITIVITY",
    "SLACK",
    "Accelerator",
    "Area",
    "Chosen",
    "Comparison",
    "Energy",
    "Executed",
    "Execution",
    "FusedLayers",
    "Kind",
    "LayerComparison",
    "LayerCost",
    "LayerPair",
    "LayerTask",
    "NetworkComparison",
    "Precision",
    "Summary",
    "SweepPoint",
    "Technology",
    "Tiling",
    "Traffic",
    "accelerator_names",
    "accelerator_text",
    "area",
    "compare",
    "compare_networks",
    "equal_precision",
    "evaluate",
    "evaluate_layer",
    "filling",
    "fused_layers_experiment",
    "fused_tasks",
    "load_accelerator",
    "load_technology",
    "network_tasks",
    "paper_tasks",
    "sensitivity",
    "static_power_mw",
    "sweep_cycles",
    "technology_names",
    "with_equal_precision",
]
