"""Figures 13 and 15 of [MLCNN]: time and energy of the fused layers, and what the means hide."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, geometric_mean

from mlcnn.accelerators import (
    DEFAULT_TECHNOLOGY,
    Evaluation,
    LayerComparison,
    Summary,
)
from mlcnn.accelerators.array import load_array
from mlcnn.counting import Reuse, fused
from mlcnn.reproduce.experiment import FusedLayers, fused_layers_experiment
from mlcnn.reproduce.paper_networks import PAPER_NETWORKS, paper_tasks
from mlcnn.reproduce.reproduction import (
    Beside,
    Cell,
    Number,
    Reproduction,
    Tell,
    compared,
    published_rows,
)

__all__ = ["reproduce_fused_layers"]

_BATCH = 16
_MACHINES = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8")
_DENSE = "dcnn-fp32"
_AGAINST = (_DENSE, "winograd-f2-fp32", "winograd-f4-fp32")


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What a figure shows of a layer.

    Attributes:
        name: in words.
        total: what the ratio of all layers together is called.
        ratio: of a layer.
        whole: of layers together.
        cause: what sets it.
        cause_heading: what that is.
    """

    name: str
    total: str
    ratio: Callable[[LayerComparison], float]
    whole: Callable[[Summary], float]
    cause: Callable[[LayerComparison], str]
    cause_heading: str


def _largest_part(row: LayerComparison) -> str:
    parts = row.cost.energy.to_json()
    return max(parts, key=lambda part: parts[part])


_QUANTITIES: Mapping[str, _Quantity] = {
    "figure-13": _Quantity(
        "speed-up",
        "ratio of total time",
        lambda row: row.speedup,
        lambda summary: summary.total_speedup,
        lambda row: row.cost.bound,
        "bound",
    ),
    "figure-15": _Quantity(
        "energy ratio",
        "ratio of total energy",
        lambda row: row.energy_ratio,
        lambda summary: summary.total_energy_ratio,
        _largest_part,
        "largest part",
    ),
}


def reproduce_fused_layers(what: str, tell: Tell) -> Reproduction:
    """Reproduce ``figure-13`` and ``figure-15``."""
    quantity = _QUANTITIES[what]
    single = 1
    wanted = [
        (batch, name, other)
        for batch in (_BATCH, single)
        for other in _AGAINST
        for name in _MACHINES
    ]
    results: dict[tuple[int, str, str], FusedLayers] = {}
    for done, key in enumerate(wanted):
        tell(what, done, len(wanted))
        results[key] = _result(*key)
    over_dense = {name: results[_BATCH, name, _DENSE].comparison for name in _MACHINES}
    alone = {name: results[single, name, _DENSE].comparison for name in _MACHINES}
    rows = tuple(
        compared(row, _computed(row, quantity, over_dense[row["accelerator"]]))
        for row in published_rows(what)
    )
    beside = (
        _layers(quantity, over_dense),
        _layers(quantity, alone),
        _summaries(quantity, results.values()),
        _networks(quantity, [results[key] for key in wanted if key[0] == _BATCH]),
    )
    return Reproduction(what, rows, _conditions(_BATCH), beside)


@lru_cache
def _result(batch: int, name: str, other: str) -> FusedLayers:
    """One pair of machines; both figures show the same results."""
    (result,) = fused_layers_experiment(batch, (name,), (other,), networks=batch == _BATCH)
    return result


def _conditions(batch: int | None = None) -> str:
    bandwidth = load_array(_DENSE).dram_bytes_per_cycle
    images = f"batch {batch}, " if batch else ""
    return f"{images}{bandwidth:g} DRAM bytes a cycle, {DEFAULT_TECHNOLOGY}"


def _computed(published: Mapping[str, str], quantity: _Quantity, comparison: Evaluation) -> Number:
    ratios = {row.name: quantity.ratio(row) for row in comparison.layers}
    return ratios[published["layer"]] if published["layer"] else fmean(ratios.values())


def _layers(quantity: _Quantity, comparisons: Mapping[str, Evaluation]) -> Beside:
    """Every layer, at each precision."""
    layers = zip(*(one.layers for one in comparisons.values()), strict=True)
    (batch,) = {one.batch for one in comparisons.values()}
    return Beside(
        f"{quantity.name} of every fused layer over {_DENSE}; {_conditions(batch)}",
        (
            "layer",
            *(text for name in comparisons for text in (name, quantity.cause_heading)),
        ),
        tuple(
            (
                same[0].name,
                *(cell for row in same for cell in (quantity.ratio(row), quantity.cause(row))),
            )
            for same in layers
        ),
    )


def _summaries(quantity: _Quantity, results: Iterable[FusedLayers]) -> Beside:
    """What the arithmetic mean hides, for every pair of machines and both batches."""
    return Beside(
        f"{quantity.name} over all fused layers: arithmetic and geometric mean, {quantity.total}, "
        f"worst layer; {_conditions()}",
        ("accelerator", "against", "batch", "mean", "geometric", "total", "worst", "worst layer"),
        tuple(_summary(quantity, result) for result in results),
    )


def _summary(quantity: _Quantity, result: FusedLayers) -> tuple[Cell, ...]:
    rows = result.comparison.layers
    ratios = [quantity.ratio(row) for row in rows]
    worst = min(rows, key=quantity.ratio)
    return (
        result.accelerator,
        result.against,
        result.batch,
        fmean(ratios),
        geometric_mean(ratios),
        quantity.whole(result.summary),
        quantity.ratio(worst),
        worst.name,
    )


def _networks(quantity: _Quantity, results: Iterable[FusedLayers]) -> Beside:
    """The networks whole, where the layers that are not fused count too."""
    return Beside(
        f"{quantity.total} of whole networks; limit: multiplications of the convolutions before "
        f"over after, what fusing alone can reach at equal precision; {_conditions(_BATCH)}",
        ("accelerator", "against", *PAPER_NETWORKS),
        (
            ("limit", "", *(_limit(network) for network in PAPER_NETWORKS)),
            *(
                (
                    result.accelerator,
                    result.against,
                    *(quantity.whole(result.networks[one].network) for one in PAPER_NETWORKS),
                )
                for result in results
            ),
        ),
    )


def _limit(network: str) -> float:
    """Multiplications of the convolutions before over after; dense layers have a 1x1 input."""
    layers = [task.nest for task in paper_tasks(network, 1) if task.nest.H > 1]
    after = sum(fused(layer, Reuse.SHARED).multiplications for layer in layers)
    return sum(layer.macs for layer in layers) / after
