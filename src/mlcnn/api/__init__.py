"""The verbs of the command line as functions, over all kinds of networks."""

from mlcnn.api.benchmarking import bench
from mlcnn.api.counting import count
from mlcnn.api.loading import ExampleInput, Source, is_zoo_name, load, model_name
from mlcnn.api.memory import require_memory
from mlcnn.api.optimizing import (
    Optimized,
    Progress,
    default_passes,
    optimize,
    potential,
    rewrite,
)
from mlcnn.api.own_data import Comparison, compare, read_inputs
from mlcnn.api.reproducing import reproduce
from mlcnn.api.running import RunResult, run

__all__ = [
    "Comparison",
    "ExampleInput",
    "Optimized",
    "Progress",
    "RunResult",
    "Source",
    "bench",
    "compare",
    "count",
    "default_passes",
    "is_zoo_name",
    "load",
    "model_name",
    "optimize",
    "potential",
    "read_inputs",
    "reproduce",
    "require_memory",
    "rewrite",
    "run",
]
