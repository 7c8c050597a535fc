"""CircConv (Liao et al., AAAI 2019): parameters and FLOPs of its WRN-22 beside WRN-22-8's.

Which layers stay dense is not stated where we read the rows; it follows from them. A layer that
stays dense adds its weights to a row, and every row is known to half of its last digit, so only
few sets of layers are possible. The norms count in the dense row and in no other: with them even
the smallest network of N = 16 would have more parameters than are printed.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlcnn.reproduce.circulant_counts import stored_weights
from mlcnn.reproduce.reproduction import (
    Beside,
    Cell,
    Number,
    Reproduction,
    Tell,
    compared,
    number,
    published_rows,
)
from mlcnn.reproduce.structure import conv_layers, parameters, structure
from mlcnn.workload import ConvLayer

__all__ = ["possible_dense", "reproduce_circconv"]

_NETWORK = "wrn22_8"
_Published = Mapping[str, str]
_Names = frozenset[str]


def reproduce_circconv(what: str, _: Tell) -> Reproduction:
    """Reproduce ``circconv``."""
    published = published_rows(what)
    layers = conv_layers(_NETWORK)
    possible = possible_dense(layers, published)
    # The stem's 3 channels fill no block: of what the rows leave open, most stays dense.
    dense = max(possible, key=len, default=frozenset[str]())
    rows = tuple(compared(row, _computed(row, layers, dense)) for row in published)
    beside = (
        _dense_table(layers, possible),
        _flops(layers, dense, [row for row in published if row["quantity"] == "flops"]),
        _accuracies(published),
    )
    return Reproduction(what, rows, f"the zoo's {_NETWORK}; {_named(dense)} dense", beside)


def possible_dense(layers: Sequence[ConvLayer], published: Iterable[_Published]) -> list[_Names]:
    """Every set of layers that can have stayed dense under the published numbers of weights.

    Args:
        layers: of the network; none stores more in blocks than dense.
        published: rows; those of parameters count, in millions and to their tolerance, apart from
            the dense one.
    """
    rooms = [_room(row, layers) for row in published if _is_compact(row)]
    alone = [layer for layer in layers if all(room.holds([layer]) for room in rooms)]
    sets = itertools.chain.from_iterable(
        itertools.combinations(alone, size) for size in range(len(alone) + 1)
    )
    return [
        frozenset(layer.name for layer in one)
        for one in sets
        if all(room.holds(one) and room.filled(one) for room in rooms)
    ]


@dataclass(frozen=True, slots=True)
class _Room:
    """Weights that layers which stay dense must and may add to a network in blocks of ``block``."""

    block: int
    least: float
    most: float

    def holds(self, dense: Iterable[ConvLayer]) -> bool:
        return self._added(dense) <= self.most

    def filled(self, dense: Iterable[ConvLayer]) -> bool:
        return self._added(dense) >= self.least

    def _added(self, dense: Iterable[ConvLayer]) -> int:
        return sum(_weights(layer) - stored_weights(layer, self.block) for layer in dense)


def _is_compact(row: _Published) -> bool:
    return row["quantity"] == "parameters" and row["block"] != "1"


def _room(row: _Published, layers: Iterable[ConvLayer]) -> _Room:
    block = int(row["block"])
    smallest = sum(stored_weights(layer, block) for layer in layers)
    printed, half = 1e6 * number(row["published"]), 1e6 * number(row["tolerance"])
    return _Room(block, printed - half - smallest, printed + half - smallest)


def _weights(layer: ConvLayer) -> int:
    return layer.K * (layer.C // layer.G) * layer.R * layer.S


def _computed(row: _Published, layers: Sequence[ConvLayer], dense: _Names) -> Number:
    block = int(row["block"])
    if row["quantity"] == "flops":
        return _products(layers, dense, block) / 1e9
    if block == 1:
        return parameters(structure(_NETWORK)) / 1e6
    return sum(_kept(layer, dense, block) for layer in layers) / 1e6


def _kept(layer: ConvLayer, dense: _Names, block: int) -> int:
    return _weights(layer) if layer.name in dense else stored_weights(layer, block)


def _products(layers: Iterable[ConvLayer], dense: _Names, block: int) -> int:
    """One for each weight that is kept and each place of the output."""
    return sum(_kept(layer, dense, block) * layer.outputs for layer in layers)


def _named(names: _Names) -> str:
    return " and ".join(sorted(names)) or "nothing"


def _dense_table(layers: Iterable[ConvLayer], possible: Sequence[_Names]) -> Beside:
    """What each layer says about itself."""
    blocks = (4, 8, 16)
    return Beside(
        "which layers can have stayed dense, from the printed weights; the printed rows also equal "
        "17.16 over N, and if they were made so they say nothing of layers",
        ("layer", "weights", *(f"N = {block}" for block in blocks), "dense"),
        tuple(
            (
                layer.name,
                _weights(layer),
                *(stored_weights(layer, block) for block in blocks),
                _verdict(layer.name, possible),
            )
            for layer in layers
        ),
    )


def _verdict(name: str, possible: Sequence[_Names]) -> str:
    if possible and all(name in names for names in possible):
        return "yes"
    return "possible" if any(name in names for names in possible) else "no"


def _flops(layers: Sequence[ConvLayer], dense: _Names, published: Iterable[_Published]) -> Beside:
    """The published FLOPs beside what can be counted."""
    rows: list[tuple[Cell, ...]] = []
    for row in published:
        products = _products(layers, dense, int(row["block"])) / 1e9
        printed = number(row["published"])
        rows.append((row["block"], printed, products, 2 * products, printed / products))
    return Beside(
        "FLOPs, G: published; products, one for each weight kept and place of the output; products "
        "and additions",
        ("N", "published", "products", "with additions", "published over products"),
        tuple(rows),
    )


def _accuracies(published: Iterable[_Published]) -> Beside:
    told = {row["block"]: number(row["accuracy"]) for row in published if row["accuracy"]}
    return Beside(
        "accuracy on CIFAR-10 as published; nothing is trained here",
        ("N", "accuracy, %", "below the dense network, points"),
        tuple((block, accuracy, told["1"] - accuracy) for block, accuracy in told.items()),
    )
