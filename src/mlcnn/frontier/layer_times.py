"""Measured time of each layer by itself, before and after, in each engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from mlcnn import engines
from mlcnn.counting.joining import joined
from mlcnn.engines.choose import in_context
from mlcnn.engines.timing import Ratio, interleave, ratio
from mlcnn.errors import MlcnnError
from mlcnn.graph import constant, extract, infer_shapes, inline
from mlcnn.workload import ConvLayer, ends, read

__all__ = ["LayerTime", "layer_times"]

_IMAGE = 4  # dimensions


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer in one engine.

    Attributes:
        layer: its name.
        engine: the engine's.
        before_ms: median time of one run of the layer as it was.
        after_ms: likewise as it is.
        speedup: how many times faster it is, with the interval of the paired rounds.
    """

    layer: str
    engine: str
    before_ms: float
    after_ms: float
    speedup: Ratio


@dataclass(frozen=True, slots=True)
class _Alone:
    """A layer cut out of its network."""

    name: str
    nest: ConvLayer
    model: ir.Model


def layer_times(
    before: ir.Model,
    after: ir.Model,
    names: Sequence[str],
    *,
    threads: int = 1,
    budget_s: float = 0.15,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[LayerTime, ...]:
    """Time layers of one name in two networks, for one image, interleaved.

    Each stands between two cheap 1x1 convolutions, as in ``engines.MeasuredChooser``: its time is
    that within a network, to the cost of these. What an engine cannot run is left out.

    Args:
        before: a network.
        after: another one with layers of the same names.
        names: of engines.
        threads: of an engine.
        budget_s: seconds for each layer and engine.
        progress: told the layers done, and all.
    """
    pairs = [
        (old, new[0]) for old, new in joined(_alone(before), _alone(after)) if old and len(new) == 1
    ]
    found: list[LayerTime] = []
    for done, (old, new) in enumerate(pairs):
        if progress is not None:
            progress(done, len(pairs))
        for engine in names:
            try:
                found.append(_timed(old, new, engine, threads, budget_s))
            except MlcnnError:
                continue  # the whole network's row says why
    return tuple(found)


def _alone(model: ir.Model) -> list[_Alone]:
    flat = inline(model, foreign=True) if model.functions else model
    if model.functions:
        infer_shapes(flat)
    workload = read(flat)
    return [
        _Alone(
            layer.name,
            layer.nest,
            extract(flat, [str(_source(nodes))], [str(nodes[-1].outputs[0].name)]),
        )
        for layer, nodes in zip(workload.layers, workload.nodes, strict=True)
    ]


def _source(nodes: Sequence[ir.Node]) -> str | None:
    """What a layer reads; nodes in front of it may lay out its weights."""
    outside, _ = ends(nodes)
    return next((value.name for value in outside if constant(value) is None), None)


def _timed(old: _Alone, new: _Alone, engine: str, threads: int, budget_s: float) -> LayerTime:
    timings = interleave(
        {"before": _runner(old, engine, threads), "after": _runner(new, engine, threads)},
        budget_s=budget_s,
        # Of one thread the time of the process, which other programs disturb less.
        clock=time.process_time_ns if threads == 1 else time.perf_counter_ns,
    )
    first, second = timings["before"], timings["after"]
    return LayerTime(old.name, engine, first.median_ms, second.median_ms, ratio(first, second))


def _runner(layer: _Alone, engine: str, threads: int) -> Callable[[], object]:
    source, shapes = layer.model.graph.inputs[0], engines.fixed_shapes(layer.model, 1)
    model = engines.fix_shapes(layer.model, shapes)
    if len(shapes[str(source.name)]) == _IMAGE:
        model = in_context(model, layer.nest)
    session = engines.get(engine).prepare(model, threads=threads, device="cpu")
    return session.runner(engines.random_inputs(model))
