"""What can be said of a network without images: its engines, and the same network run better."""

import time
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mlcnn import engines, graph
from mlcnn.api.affording import EXACT
from mlcnn.api.benchmarking import MeasureOptions, chooser_for
from mlcnn.api.evaluation import Fused
from mlcnn.api.optimizing import Progress, rewrite
from mlcnn.api.searching.found import Cheapest
from mlcnn.api.searching.options import CheapestOptions
from mlcnn.api.searching.prices import KEYS, SURELY_LESS, Price, Prices, Stopwatch
from mlcnn.api.stacking import Stack, Step
from mlcnn.api.stacking.kind import Kind
from mlcnn.engines.processor import named
from mlcnn.errors import InputError
from mlcnn.frontier.outcome import Entry, Outcome
from mlcnn.frontier.stacks import Aspect
from mlcnn.report import ORIGINAL

__all__ = ["require_exact", "unlabelled"]

_NEEDS = "it needs labelled images: give --data"


def unlabelled(
    model: ir.Model,
    name: str,
    options: CheapestOptions,
    notes: Sequence[str],
    progress: Progress,
    *,
    gains: bool,
) -> Cheapest:
    """The first stage of ``cheapest`` alone.

    Args:
        model: the network.
        name: of it.
        options: what is asked for.
        notes: what the reader should know so far.
        progress: told how the work goes on.
        gains: whether exact passes change anything.

    Raises:
        InputError: every method that is asked for needs images, or the network has several inputs.
        UnsupportedError: no engine runs it.
        InfeasibleError: the machine cannot run a layer.
    """
    begun, forms = time.time(), require_exact(options)
    if len(model.graph.inputs) != 1:
        names = ", ".join(value.name or "" for value in model.graph.inputs)
        raise InputError(f"the network has the inputs {names}; one input, images, is required")
    original = graph.without_dropout(model)
    (pixels,) = engines.random_inputs(original, 1).values()
    images = np.asarray(pixels, np.float32)
    prices = Prices(options, original, Stopwatch(options.where, images, options.threads), images)
    progress("measure", 0, 2)
    before = prices.begin(None)
    progress("measure", 1, 2)
    found, after = _formed(original, before, prices, progress)
    keys = tuple(KEYS[one] for one in options.objectives)
    gains = gains and any(after.costs[key] < SURELY_LESS * before.costs[key] for key in keys)
    entries = [_entry(ORIGINAL, "", before), _entry(forms[0].name, _text(forms[0]), after)]
    dropped = {kind.name: _NEEDS for kind in options.kinds if kind not in forms}
    told = () if gains else ("without images there is nothing to gain in this network",)
    outcome = Outcome(
        name, keys, options.max_drop, tuple(entries), int(gains), (), dropped, None,
        time.time() - begun, {}, interrupted=False, where=named(), notes=(*notes, *told),
    )  # fmt: skip
    return Cheapest(original, found if gains else original, outcome)


def require_exact(options: CheapestOptions) -> list[Kind]:
    """The methods that need no images.

    Raises:
        InputError: there is none among those that are asked for.
    """
    forms = [kind for kind in options.kinds if kind.aspect is Aspect.FORMS]
    if not forms:
        raise InputError(
            f"--methods {','.join(options.methods)}: each of them needs labelled images; give "
            "--data, or leave --methods away"
        )
    return forms


def _text(kind: Kind) -> str:
    return Stack((Step(kind, dict(kind.values)),)).text


def _formed(
    model: ir.Model, before: Price, prices: Prices, progress: Progress
) -> tuple[ir.Model, Price]:
    """The network in the forms that are cheapest where it runs best."""
    chooser = None
    if before.engine:
        chooser = chooser_for(model, MeasureOptions(engines=(before.engine,)))
    elif prices.options.on_machines:
        chooser = Fused()
    found = graph.inline(rewrite(model, EXACT, chooser=chooser, progress=progress).model)
    return found, prices.of(found)


def _entry(what: str, pipeline: str, price: Price) -> Entry:
    return Entry(what, pipeline, price.engine, dict(price.costs), None, None, None, None)
