"""Why an engine of memory sub-arrays cannot run a layer."""

import math

from mlcnn.accelerators.cost import LayerTask
from mlcnn.accelerators.in_memory.compare import additions_of
from mlcnn.accelerators.in_memory.comparisons import comparisons_of
from mlcnn.accelerators.in_memory.description import EngineDescription, engines_of
from mlcnn.accelerators.in_memory.mapping import laid, mappings
from mlcnn.accelerators.in_memory.work import Products, products_of
from mlcnn.accelerators.machine import Infeasible, unknown_layer, unknown_parts
from mlcnn.ops.comparator import KIND
from mlcnn.workload import Arithmetic, Layer

__all__ = ["refusal"]

_MOST_BITS = 16
_OPTIONS = ("pairs", "share")


def refusal(layer: Layer, engine: EngineDescription) -> Infeasible | None:
    """Why an engine cannot run a layer as what it is; None where it can.

    Args:
        layer: the layer.
        engine: the machine.
    """
    if not (engine.compares and layer.arithmetic is Arithmetic.COMPARE):
        return _unknown(layer, engine) or _unquantised(layer, engine) or _too_large(layer, engine)
    return (
        _unknown_comparator(layer, engine)
        or _unquantised(layer, engine)
        or _too_wide(layer, engine)
        or _too_large(additions_of(LayerTask(layer)).layer, engine)
    )


def _unknown(layer: Layer, engine: EngineDescription) -> Infeasible | None:
    wanted = unknown_parts(layer, (Arithmetic.MULTIPLY, Arithmetic.AND_POPCOUNT))
    does = "its sub-arrays AND bits of dense weights with bits of inputs"
    return unknown_layer(engine.name, layer, wanted, does) if wanted else None


def _unknown_comparator(layer: Layer, engine: EngineDescription) -> Infeasible | None:
    """What a layer that compares is besides."""
    wanted: list[str] = []
    options = dict(layer.weights.options)
    if layer.weights.kind != KIND or any(options.get(name, 0) < 1 for name in _OPTIONS):
        wanted.append(f"{layer.weights} weights that compare")
    if layer.nest.G > 1:
        wanted.append(f"{layer.nest.G} groups")
    if layer.nest.depth is not None:
        wanted.append("three dimensions")
    does = f"its sub-arrays compare where weights are {KIND} with {' and '.join(_OPTIONS)}"
    return unknown_layer(engine.name, layer, wanted, does) if wanted else None


def _unquantised(layer: Layer, engine: EngineDescription) -> Infeasible | None:
    numbers = layer.numbers
    widest = max(numbers.weight, numbers.input)
    if widest <= _MOST_BITS:
        return None
    return Infeasible(
        f"accelerator {engine.name} cannot run {layer.name}: its weights have {numbers.weight} "
        f"bits and its inputs {numbers.input}, and bits of codes of at most {_MOST_BITS} meet "
        "in its rows: quantise the network first, as with mlcnn quantize MODEL --data DIR "
        "--weight-bits 1 --input-bits 2 --finetune EPOCHS",
        demand=widest, bound=_MOST_BITS, unit="bits", levers=("mlcnn quantize",),
    )  # fmt: skip


def _too_wide(layer: Layer, engine: EngineDescription) -> Infeasible | None:
    """Why no strip of inputs that are compared fits: its rows, or the buffer."""
    work = comparisons_of(LayerTask(layer))
    start = f"accelerator {engine.name} cannot run {layer.name}: "
    rows = math.prod(work.reach) * work.bits
    if rows > engine.rows:
        return Infeasible(
            f"{start}a row for each bit of a window of {work.reach[0]} x {work.reach[1]} takes "
            f"{rows} rows, and a sub-array has {engine.rows}: take more rows, or fewer bits",
            demand=rows, bound=engine.rows, unit="rows", levers=("rows", "mlcnn quantize"),
        )  # fmt: skip
    band = work.band_inputs * work.bits
    if band <= engine.buffer_bits:
        return None
    return Infeasible(
        f"{start}inputs of a row of positions take {band / 8:.0f} bytes, and the buffer has "
        f"{engine.buffer_bytes}: enlarge it",
        demand=band / 8, bound=engine.buffer_bytes, unit="bytes", levers=("buffer bytes",),
    )  # fmt: skip


def _too_large(layer: Layer, engine: EngineDescription) -> Infeasible | None:
    """Why no mapping fits: rows, sub-arrays for the slices of a window, or the buffer."""
    works = products_of(LayerTask(layer))
    if any(_fits(work, engine) for work in works):
        return None
    work = works[-1]
    planes = work.weight_bits + work.input_bits
    start = f"accelerator {engine.name} cannot run {layer.name}: "
    if planes > engine.rows:
        return Infeasible(
            f"{start}a row for each bit of a filter and of a window takes {planes} rows, and a "
            f"sub-array has {engine.rows}: take more rows, or fewer bits",
            demand=planes, bound=engine.rows, unit="rows", levers=("rows", "mlcnn quantize"),
        )  # fmt: skip
    slices = -(-work.length // engine.columns)
    held = engine.rows // planes * engine.arrays
    if slices > held:
        return Infeasible(
            f"{start}a window has {work.length} numbers, {slices} slices of {engine.columns} "
            f"columns, and all {engine.arrays} sub-arrays hold {held}: take more sub-arrays, or "
            "larger ones, or fewer bits",
            demand=slices, bound=held, unit="slices", levers=("arrays", "rows", "columns"),
        )  # fmt: skip
    bits = work.band_inputs * work.input_bits + work.length * work.weight_bits
    return Infeasible(
        f"{start}inputs of a row of positions and one filter take {bits / 8:.0f} bytes, and "
        f"the buffer has {engine.buffer_bytes}: enlarge it",
        demand=bits / 8, bound=engine.buffer_bytes, unit="bytes", levers=("buffer bytes",),
    )  # fmt: skip


def _fits(work: Products, engine: EngineDescription) -> bool:
    engines = engines_of((engine,))
    return bool(laid(work, engines, mappings(work, engines)).fits.any())
