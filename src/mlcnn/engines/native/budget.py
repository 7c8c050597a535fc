"""Transformed weights are larger: how much memory they may take, and which layers give way."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from mlcnn.engines.native.choice import Choice, Layer
from mlcnn.engines.native.kinds import Kind, shown

__all__ = ["MOST", "within"]

MOST = 2.0  # times the weights of the network as they are, that all should take
_WORTH = 1.1  # times as fast, for an algorithm that takes more than that
_SMALL = 16 << 20  # bytes of weights that count as nothing


def within(
    layers: Sequence[Layer], choices: Sequence[Choice], memory: int, most: float
) -> list[Choice]:
    """The choices, of which the least gainful give way while all weights take too much.

    Those that make their layer faster by a tenth stay, unless the machine has no room for them.

    Args:
        layers: the convolutions of a network.
        choices: one for each.
        memory: bytes that the machine has.
        most: times the weights as they are that all should take, if they are not small.
    """
    plain = sum(layer.ways[layer.plain].weight_bytes for layer in layers)
    allowed = max(_SMALL, most * plain)
    found = _reduced(layers, choices, allowed, _WORTH, f"{most:g} times the network's")
    return _reduced(layers, found, max(plain, memory), inf, "the machine's memory")


def _reduced(
    layers: Sequence[Layer], choices: Sequence[Choice], bound: float, worth: float, limit: str
) -> list[Choice]:
    """The choices within a bound, as far as that costs each layer less than ``worth``.

    Again and again the layer that loses the least time per byte that it saves takes another of its
    algorithms, with fewer weights.
    """
    found = list(choices)
    total = sum(layer.ways[c.kind].weight_bytes for layer, c in zip(layers, found, strict=True))
    fastest = [choice.ms[choice.kind] for choice in choices]
    while total > bound:
        steps = [
            step
            for index, (layer, choice) in enumerate(zip(layers, found, strict=True))
            for step in _steps(index, layer, choice)
            if choice.ms[step[2]] < worth * fastest[index]
        ]
        if not steps:
            break
        _, index, kind, saved = min(steps, key=lambda step: step[0])
        found[index] = _given_up(found[index], kind, limit)
        total -= saved
    return found


def _steps(index: int, layer: Layer, choice: Choice) -> list[tuple[float, int, Kind, int]]:
    """Ways back from a choice: ms lost per byte, layer, algorithm and bytes saved."""
    taken = layer.ways[choice.kind].weight_bytes
    return [
        ((ms - choice.ms[choice.kind]) / saved, index, kind, saved)
        for kind, ms in choice.ms.items()
        if (saved := taken - layer.ways[kind].weight_bytes) > 0
    ]


def _given_up(choice: Choice, kind: Kind, limit: str) -> Choice:
    reason = f"{shown(choice.kind)} given up: with its weights all would pass {limit}"
    before = choice.reason.split("; weights: ")[0]
    return replace(choice, kind=kind, reason=f"{before}; weights: {reason}")
