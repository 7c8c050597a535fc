"""Whether few bits pay in a layer, in words."""

from collections.abc import Mapping, Sequence

from mlcnn.engines.native.choice import Choice, Layer, fastest
from mlcnn.engines.native.geometry import FewBits, Geometry
from mlcnn.engines.native.kinds import Few, Kind
from mlcnn.errors import UnsupportedError

__all__ = ["in_bits", "paying"]

_WORD = 64  # bits
_LISTED = 4
_EQUAL = 4  # products of planes, that bytes are about as fast as


def paying(layer: Layer, choice: Choice) -> str:
    """What is to be known of a layer between quantisers; nothing of other layers.

    Args:
        layer: with why it is not computed in its codes or not in few bits, if it is not.
        choice: the algorithm that computes it.
    """
    few = layer.geometry.few
    if layer.asked.declined:
        how = "FP32" if few is None else "INT8"
        return f"declined: {layer.asked.declined}; so it runs as {how}"
    if few is None:
        return ""
    if choice.kind is not Few.LOOKUPS and not few.is_few:
        return _too_wide(few)
    if choice.kind is not Few.INT8:
        whole = choice.ms.get(Few.INT8)
        if whole is None:
            return ""
        return f"{whole / choice.ms[choice.kind]:.1f} times as fast as INT8"
    return f"few bits do not pay: {_why(few, layer.geometry)}"


def _too_wide(few: FewBits) -> str:
    """What keeps a layer from few bits, where half of it has them."""
    if not few.numbers.are_narrow:
        return ""
    whose, bits, option = "inputs", few.inputs, "--input-bits 2"
    if few.weights > few.inputs:
        whose, bits, option = "weights", few.weights, "--weight-bits 1"
    return (
        f"declined: {whose} of {bits} bits are wider than kernels of few bits take; so it runs as "
        f"INT8 (`mlcnn quantize {option}` helps)"
    )


def _why(few: FewBits, geometry: Geometry) -> str:
    products, channels = few.weights * few.inputs, geometry.channels
    if products > _EQUAL:
        return (
            f"{products} products of planes, where INT8 takes one of bytes (--weight-bits 1 "
            "--input-bits 2 take 2)"
        )
    if channels < _WORD:
        return f"{channels} channels are few, where a word holds {_WORD}"
    if products == _EQUAL:
        return f"{products} products of planes take about as long as one of bytes"
    return f"{geometry.filters} filters at {geometry.rows}x{geometry.columns} are few results"


def in_bits(layers: Sequence[Layer]) -> list[Choice]:
    """Bit planes or tables wherever one computes a layer; elsewhere every product.

    Raises:
        UnsupportedError: they compute none.
    """
    ways: list[dict[Kind, float]] = [
        {
            kind: 1e3 * way.seconds
            for kind, way in layer.ways.items()
            if isinstance(kind, Few) and kind is not Few.INT8
        }
        for layer in layers
    ]
    if not any(ways):
        told = [f"{layer.name} {_lacks(layer)}" for layer in layers][:_LISTED]
        more = "" if len(layers) <= _LISTED else f" and {len(layers) - _LISTED} more"
        raise UnsupportedError(
            "native: --algorithm bits: it computes layers between quantisers whose weights have 1 "
            "to 4 bits and whose inputs have few, and no layer of this network is one "
            f"({', '.join(told) or 'it has none'}{more}); quantise it with `mlcnn quantize "
            "--weight-bits 1 --input-bits 2 --finetune EPOCHS`, or use --algorithm measured"
        )
    return [_taken(*each) for each in zip(layers, ways, strict=True)]


def _taken(layer: Layer, found: Mapping[Kind, float]) -> Choice:
    ms = {kind: 1e3 * way.seconds for kind, way in layer.ways.items()}
    if not found:
        return Choice(layer.plain, f"it {_lacks(layer)}", ms)
    choice = fastest(found, measured=False)
    return Choice(choice.kind, choice.reason, ms)


def _lacks(layer: Layer) -> str:
    """Why no kernel of few bits computes a layer, behind its name."""
    bits = layer.asked.bits
    if layer.asked.declined:
        return f"is {bits}: {layer.asked.declined}"
    return f"is {bits}" if bits.are_coded else "is not quantised"
