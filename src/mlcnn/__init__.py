"""mlcnn finds the cheapest way to run a convolutional network.

The verbs of the command line are functions here: `load`, `optimize`, `count`, `bench`, `check`,
`evaluate`, `explore`, `finetune`, `quantize`, `compress`, `skip`, `stack`, `run`; of `map` there
are two, `map_layer` and `map_network`; `rtl simulate` is `simulate_rtl`. They and the packages
below them are imported when they are first used, so that ``import mlcnn`` takes no time.
"""

import importlib

# Read by type checkers as that of `typing`, which takes as long to import as Python to start.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mlcnn import (
        accelerators,
        api,
        codesign,
        counting,
        engines,
        errors,
        frontier,
        graph,
        nn,
        ops,
        passes,
        report,
        reproduce,
        rtl,
        table,
        training,
        workload,
        zoo,
    )
    from mlcnn.api import (
        Checked,
        CompressOptions,
        EvaluateOptions,
        ExploreOptions,
        ImageOptions,
        MapOptions,
        MeasureOptions,
        NetworkOptions,
        Optimized,
        Quantized,
        QuantizeOptions,
        RewriteOptions,
        RtlOptions,
        SkipOptions,
        bench,
        check,
        compile,  # noqa: A004 - as torch has it
        compress,
        count,
        diff,
        evaluate,
        explore,
        finetune,
        load,
        map_layer,
        map_network,
        optimize,
        quantize,
        run,
        simulate_rtl,
        skip,
        stack,
    )

__all__ = [
    "Checked",
    "CompressOptions",
    "EvaluateOptions",
    "ExploreOptions",
    "ImageOptions",
    "MapOptions",
    "MeasureOptions",
    "NetworkOptions",
    "Optimized",
    "QuantizeOptions",
    "Quantized",
    "RewriteOptions",
    "RtlOptions",
    "SkipOptions",
    "__version__",
    "accelerators",
    "api",
    "bench",
    "check",
    "codesign",
    "compile",
    "compress",
    "count",
    "counting",
    "diff",
    "engines",
    "errors",
    "evaluate",
    "explore",
    "finetune",
    "frontier",
    "graph",
    "load",
    "map_layer",
    "map_network",
    "nn",
    "ops",
    "optimize",
    "passes",
    "quantize",
    "report",
    "reproduce",
    "rtl",
    "run",
    "simulate_rtl",
    "skip",
    "stack",
    "table",
    "training",
    "workload",
    "zoo",
]

_FROM_API = frozenset(
    {
        "CompressOptions",
        "EvaluateOptions",
        "ImageOptions",
        "MeasureOptions",
        "Optimized",
        "Quantized",
    }
    | {"QuantizeOptions", "RewriteOptions", "SkipOptions"}
    | {"bench", "compress", "count", "evaluate", "finetune", "load", "optimize", "quantize", "run"}
    | {"MapOptions", "NetworkOptions", "map_layer", "map_network", "skip", "stack"}
    | {"ExploreOptions", "explore", "RtlOptions", "simulate_rtl", "Checked", "check", "diff"}
    | {"compile"}
)

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'mlcnn' has no attribute {name!r}")
    if name in _FROM_API:
        return getattr(importlib.import_module("mlcnn.api"), name)
    return importlib.import_module(f"mlcnn.{name}")


def __dir__() -> list[str]:
    return __all__
