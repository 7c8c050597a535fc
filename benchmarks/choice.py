"""How far the algorithms that native chooses are from the best one per layer, one thread.

In a fresh process pinned to one core every distinct geometry of a network is timed in each
algorithm, as a first use times it but with more rounds. The loss of ``auto`` and of ``measured``,
whose own times are taken anew and before, is the time of the chosen algorithms over that of the
fastest, summed over the layers; beside it the worst of the layers that take 1 % of the network.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import fresh
from benchmarks.interleaved import core_figures
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import Figure, Found
from mlcnn import engines, zoo
from mlcnn.engines.native.algorithms import Chooser, Choosing
from mlcnn.engines.native.choice import Asked
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.library import load
from mlcnn.engines.native.lowering import lower, suited
from mlcnn.engines.native.machine import machine_of
from mlcnn.engines.native.measured import Stopwatch
from mlcnn.engines.native.winograd import Winograd
from mlcnn.graph import fold_constants, infer_shapes, inline
from mlcnn.passes import FoldBatchNorm

__all__ = ["FIGURES", "found", "main"]

FIGURES = {"auto": Figure.CHOICE_AUTO, "measured": Figure.CHOICE_MEASURED}
_COUNTS = 0.01  # of a network's time, from which on a layer may be the worst

Kind = Winograd | None


@dataclass(slots=True)
class _Both:
    """Chooses by both ways, and notes what each took.

    Attributes:
        choosers: by name.
        layers: (layer, geometry, algorithm by chooser) in the network's order.
    """

    choosers: Mapping[str, Chooser]
    layers: list[tuple[str, Geometry, dict[str, Kind]]] = field(default_factory=list)

    def __call__(self, network: Sequence[Asked]) -> list[Kind]:
        chosen = {name: chooser(network) for name, chooser in self.choosers.items()}
        for index, asked in enumerate(network):
            kinds = {name: found[index] for name, found in chosen.items()}
            self.layers.append((asked.name, asked.geometry, kinds))
        return chosen["auto"]

    @property
    def ratios(self) -> list[float]:
        """Of those that are taken."""
        return self.choosers["auto"].ratios


@contextmanager
def _nothing_known() -> Iterator[None]:
    """A cache that holds the kernels of this machine, and no times."""
    library = load()
    paths = [library.path]
    if library.narrow is not None:
        paths.append(load("native", library.narrow).path)
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "mlcnn"
        cache.mkdir()
        for path in paths:
            shutil.copy(path, cache)
        os.environ["XDG_CACHE_HOME"] = folder
        load.cache_clear()
        try:
            yield
        finally:
            load.cache_clear()
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


def time_layers(network: str, batch: int, rounds: int) -> dict[str, Any]:
    """In a fresh process: per layer the time of each algorithm in ms, and which were chosen."""
    standard = FoldBatchNorm().apply(inline(zoo.load(network), foreign=True)).model
    shapes = {name: array.shape for name, array in engines.random_inputs(standard, batch).items()}
    fixed = fold_constants(engines.fix_shapes(standard, shapes))
    infer_shapes(fixed)
    weights = engines.weight_bytes(standard)
    with _nothing_known():
        library, machine = suited(fixed, "native"), machine_of("native")
        both = _Both({
            name: Choosing(name, machine, 1, weights).chooser(library) for name in FIGURES
        })  # fmt: skip
        lower(fixed, library, both)
        stopwatch = Stopwatch(library, 1, weights, rounds=rounds)
        times = {
            geometry: stopwatch.measure(geometry, (None, *geometry.transforms()))
            for geometry in dict.fromkeys(geometry for _, geometry, _ in both.layers)
        }
        found = [
            {
                "layer": layer, "geometry": geometry.shown,
                "ms": {_told(kind): ms for kind, ms in times[geometry].items()},
                **{name: _told(kind) for name, kind in chosen.items()},
            }
            for layer, geometry, chosen in both.layers
        ]  # fmt: skip
        return {"layers": found, **core_figures()}


def _told(kind: Kind) -> str:
    return "direct" if kind is None else kind.shown


def _best_ms(layer: Mapping[str, Any]) -> float:
    return min(layer["ms"].values())


def _loss(layers: Sequence[Mapping[str, Any]], name: str) -> float:
    """The time of these layers as they were chosen, over that of the fastest algorithms."""
    return sum(layer["ms"][layer[name]] for layer in layers) / sum(map(_best_ms, layers))


def _worst(layers: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    least = _COUNTS * sum(map(_best_ms, layers))
    counting = [layer for layer in layers if _best_ms(layer) >= least]
    worst = max(counting, key=lambda layer: _loss([layer], name))
    return {"layer": worst["layer"], "loss": _loss([worst], name)}


def row_of(network: str, batch: int, parts: Sequence[dict[str, Any]]) -> Row:
    """What the fresh processes of one setting say together."""
    layers = [one["layers"] for one in parts]
    losses = {name: [_loss(each, name) for each in layers] for name in FIGURES}
    worst = {
        name: sorted((_worst(each, name) for each in layers), key=lambda one: one["loss"])
        for name in FIGURES
    }
    return {
        "network": network, "batch": batch, "processes": len(parts),
        "losses": losses,
        "worst": {name: each[len(each) // 2] for name, each in worst.items()},
        "layers": layers,
        **{key: median(one[key] for one in parts) for key in ("peak_gflops", "bandwidth_gbs")},
    }  # fmt: skip


def found(rows: Sequence[Row]) -> list[Found]:
    """The figures of these rows: times over those of the best algorithms."""
    return [
        Found(figure, row["network"], row["batch"], row["losses"][name])
        for row in rows
        for name, figure in FIGURES.items()
    ]


_COLUMNS = (
    "over the best per layer", "sum", "least to most", "target", "", "worst layer", "its loss",
)  # fmt: skip


def _shown(row: Row) -> list[list[str]]:
    """The lines of a row in the table, one per way of choosing."""
    label = f"{row['network']}, batch {row['batch']}"
    return [
        [f"{label}: {name}", *figure.cells(), worst["layer"], f"{worst['loss']:.2f}"]
        for (name, worst), figure in zip(row["worst"].items(), found([row]), strict=True)
    ]


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "choice", processes=3)
    parser.add_argument("--rounds", type=int, default=15, help="runs of each algorithm")
    options = parser.parse_args()
    rows = Rows(options, ("network", "batch"))
    networks = dict.fromkeys(options.networks or zoo.names())
    settings = [(name, batch) for name in networks for batch in options.batch or (1, 8)]
    for network, batch in settings:
        if rows.done(options.processes, network=network, batch=batch):
            continue
        parts = [
            fresh.call(
                "benchmarks.choice:time_layers", network=network, batch=batch, rounds=options.rounds
            )
            for _ in range(options.processes)
        ]
        row = row_of(network, batch, parts)
        rows.put(row)
        for line in _shown(row):
            print("; ".join(line), flush=True)
    mine = [row for row in rows.rows if (row["network"], row["batch"]) in settings]
    show("choice of algorithms", _COLUMNS, [line for row in mine for line in _shown(row)])
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
