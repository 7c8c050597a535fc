"""The approximate swaps that a network affords without training."""

from dataclasses import replace
from os import PathLike

import onnx_ir as ir

from mlcnn import training
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.loading import Source
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.options import RewriteOptions
from mlcnn.api.sensitivity import Judge, Swap, swapped
from mlcnn.api.settling import settled
from mlcnn.api.training import require_classifier
from mlcnn.errors import InputError
from mlcnn.passes import Chooser, Gradual, pipeline
from mlcnn.training import Data

__all__ = ["APPROXIMATE", "EXACT", "approximate_passes", "training_steps", "within_budget"]

APPROXIMATE = "max-to-average,reorder"
"""The passes that need training, where nothing else is asked for."""

EXACT = "exact"
"""What runs after the training."""

_NEVER = "fold-batch-norm"


def approximate_passes(text: str) -> str:
    """The passes of a pipeline that run before training: those up to the last approximate one.

    Batch norms stay whole for training, so what folds them is left for afterwards.

    Raises:
        InputError: no pass is approximate.
    """
    parsed = pipeline.foreseen(pipeline.parse(text))
    last = max((i for i, item in enumerate(parsed) if not item.exact), default=None)
    if last is None:
        raise InputError(
            f"--passes {text}: every pass is exact, so nothing needs training; use mlcnn optimize, "
            f"or give approximate passes, as {APPROXIMATE}"
        )
    return pipeline.text([item for item in parsed[: last + 1] if item.name != _NEVER])


def training_steps(text: str) -> tuple[str, ...]:
    """The pipelines that a network goes through one after the other, trained after each.

    Several where a pass says that it is gradual; the other passes stand in the first.
    """
    passes = [
        item.training_steps() if isinstance(item, Gradual) else [item]
        for item in pipeline.parse(text)
    ]
    return tuple(
        pipeline.text([steps[number] for steps in passes if number < len(steps)])
        for number in range(max(map(len, passes)))
    )


def within_budget(
    source: Source,
    model: ir.Model,
    options: RewriteOptions,
    *,
    data: "Data | str | PathLike[str] | None",
    max_drop: float | None,
    images: ImageOptions,
    chooser: Chooser | None = None,
    progress: Progress | None = None,
) -> tuple[ir.Model, RewriteOptions, tuple[Swap, ...]]:
    """Options of a rewrite that keep only the swaps that the accuracy affords, without training.

    Args:
        source: what the network was loaded from.
        model: the network.
        options: the rewrite.
        data: labelled images; see ``training.open_data``.
        max_drop: percentage points of accuracy on the validation images that may be lost.
        images: how the images go to the network.
        chooser: what says which layers gain; an estimate by default.
        progress: told how the work goes on.

    Returns:
        The network with the kept swaps and statistics re-estimated, the options of the exact
        passes that are left to run on it, and every swap.

    Raises:
        InputError: one of ``data`` and ``max_drop`` is missing, the data do not fit, or no swap
            stays within the budget.
    """
    if data is None or max_drop is None:
        raise InputError("--data and --max-drop go together: images, and what may be lost on them")
    passes = settled(model, approximate_passes(options.passes or APPROXIMATE), chooser)
    opened, normal, _ = images.open(data, source)
    require_classifier(model, opened)
    judge = Judge(model, passes, opened, normal, training.Hardware(), progress or silent)
    found = judge.affordable(judge.swaps(), max_drop / 100)
    optimized = swapped(model, passes, [swap.layer for swap in found if swap.kept])
    renewed = optimized.update_weights(judge.renewed(optimized))
    return renewed.model, replace(options, passes=EXACT), found
