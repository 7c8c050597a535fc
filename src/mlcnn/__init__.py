"""mlcnn finds the cheapest way to run a convolutional network.

The verbs of the command line are functions here: `load`, `optimize`, `count`, `diff`, `bench`,
`check`, `deploy`, `evaluate`, `explore`, `finetune`, `quantize`, `compress`, `skip`, `stack`,
`cheapest`, `run`; of `map` there are two, `map_layer` and `map_network`; `rtl simulate` is
`simulate_rtl`; and `compile` makes a torch module run in an engine. They and the packages below
them are imported when they are first used, so that ``import mlcnn`` takes no time.
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
        journal,
        nn,
        ops,
        passes,
        report,
        reproduce,
        rtl,
        table,
        tasks,
        training,
        workload,
        zoo,
    )
    from mlcnn.api import (
        Checked,
        CompressOptions,
        Deployed,
        DeployOptions,
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
        cheapest,
        check,
        compile,  # noqa: A004 - as torch has it
        compress,
        count,
        deploy,
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
    "DeployOptions",
    "Deployed",
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
    "cheapest",
    "check",
    "codesign",
    "compile",
    "compress",
    "count",
    "counting",
    "deploy",
    "diff",
    "engines",
    "errors",
    "evaluate",
    "explore",
    "finetune",
    "frontier",
    "graph",
    "journal",
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
    "tasks",
    "training",
    "workload",
    "zoo",
]

_PACKAGES = frozenset(
    {"accelerators", "api", "codesign", "counting", "engines", "errors", "frontier", "graph"}
    | {"journal", "nn", "ops", "passes", "report", "reproduce", "rtl", "table", "tasks"}
    | {"training", "workload", "zoo"}
)

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'mlcnn' has no attribute {name!r}")
    if name in _PACKAGES:
        return importlib.import_module(f"mlcnn.{name}")
    return getattr(importlib.import_module("mlcnn.api"), name)


def __dir__() -> list[str]:
    return __all__
