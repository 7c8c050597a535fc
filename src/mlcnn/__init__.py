"""mlcnn finds the cheapest way to run a convolutional network.

The verbs of the command line are functions here: `load`, `optimize`, `count`, `bench`, `evaluate`,
`run`. They are imported when they are first used, so that ``import mlcnn`` takes no time.
"""

import importlib

# Read by type checkers as that of `typing`, which takes as long to import as Python to start.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mlcnn import api
    from mlcnn.api import (
        EvaluateOptions,
        MeasureOptions,
        Optimized,
        RewriteOptions,
        bench,
        count,
        evaluate,
        load,
        optimize,
        run,
    )

__all__ = [
    "EvaluateOptions",
    "MeasureOptions",
    "Optimized",
    "RewriteOptions",
    "__version__",
    "api",
    "bench",
    "count",
    "evaluate",
    "load",
    "optimize",
    "run",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'mlcnn' has no attribute {name!r}")
    api_module = importlib.import_module("mlcnn.api")
    return api_module if name == "api" else getattr(api_module, name)


def __dir__() -> list[str]:
    return __all__
