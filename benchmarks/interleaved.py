"""Engines that run in turn in one process, and what its core can do at that moment."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir

from mlcnn import engines
from mlcnn.engines.native.library import load
from mlcnn.engines.native.machine import measure

__all__ = [
    "OTHERS",
    "clock_of",
    "core_figures",
    "faster",
    "largest_error",
    "medians",
    "prepare",
    "samples",
]

OTHERS = ("onnxruntime", "openvino")
"""The engines that native is held against."""

Samples = Mapping[str, Sequence[float]]


def clock_of(*, processor_time: bool) -> Callable[[], int]:
    """The clock that is asked for, in ns."""
    return time.process_time_ns if processor_time else time.perf_counter_ns


def prepare(engine: str, model: ir.Model) -> Any:
    """A session on one thread.

    Raises:
        RuntimeError: OpenVINO would compute in bfloat16, twice as fast: no fair comparison.
    """
    session = engines.get(engine).prepare(model)
    if engine == "openvino" and session.precision != "f32":
        raise RuntimeError(f"openvino computes in {session.precision}, not in f32")
    return session


def core_figures() -> dict[str, float]:
    """Peak of multiply-adds in registers and bandwidth of this core; empty without a compiler."""
    if "native" not in engines.available():
        return {}
    core = measure(load())
    return {"peak_gflops": core.gflops, "bandwidth_gbs": core.bytes_per_s / 1e9}


def samples(
    runners: Mapping[str, Callable[[], object]],
    budget_s: float,
    *,
    processor_time: bool,
    between: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Interleaved samples of each runner in ms, and the figures of the core.

    ``between`` is called untimed before each sample, see ``engines.interleave``.
    """
    clock = clock_of(processor_time=processor_time)
    timings = engines.interleave(runners, budget_s=budget_s, clock=clock, between=between)
    found = {name: list(timing.samples_ms) for name, timing in timings.items()}
    return {"samples": found, **core_figures()}


def medians(samples_ms: Samples) -> dict[str, float]:
    """Median of each runner."""
    return {name: median(values) for name, values in samples_ms.items()}


def faster(samples_ms: Samples, mine: str, others: Sequence[str]) -> float:
    """How many times as fast as the best of others: the median of the paired ratios."""
    best = min(others, key=lambda name: median(samples_ms[name]))
    pairs = zip(samples_ms[best], samples_ms[mine], strict=True)
    return median(other / own for other, own in pairs)


def largest_error(found: Any, expected: Any) -> float:
    """Largest difference, as a share of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
