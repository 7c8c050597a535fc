"""The sparse arrays over the dense machine: networks pruned by size alone, nothing trained.

The smallest weights go, or the smallest coefficients of five basis kernels, each by the root mean
square of its layer; of a network without shared kernels those of convolutions larger than 1x1.

    python -m benchmarks.sparse_array --weights resnet20=FILE.npz
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
import onnx_ir as ir

import mlcnn
from benchmarks.results import arguments, show, write
from mlcnn import graph
from mlcnn.accelerators import evaluate_layer, load_accelerator, load_technology, network_tasks
from mlcnn.accelerators.cost import Costs
from mlcnn.ops.shared_kernels import KIND
from mlcnn.passes import pipeline
from mlcnn.workload import read

__all__ = ["CASES", "Case", "main", "pruned"]

_BATCH = 16
_AGAINST = "dcnn-fp32"
_MACHINES = ("dcnn-fp32", "sparse-fp32", "sparse-basis-fp32")


@dataclass(frozen=True, slots=True)
class Case:
    """A network and what is left of it.

    Attributes:
        network: of the zoo.
        density: share of weights or coefficients that stay.
        basis: kernels that each layer shares; 0 for none.
    """

    network: str
    density: float = 1.0
    basis: int = 0


CASES = (
    Case("resnet20"), Case("resnet20", 0.17), Case("resnet20", 0.3, 5),
    Case("vgg16"), Case("vgg16", 0.06), Case("vgg16", 0.1, 5),
)  # fmt: skip


def pruned(model: ir.Model, density: float, basis: int) -> ir.Model:
    """A network without its smallest weights.

    Args:
        model: the network; it is not changed.
        density: share that stays.
        basis: kernels that each layer shares; 0 for none.
    """
    share = f",share-kernels{{basis={basis}}}" if basis else ""
    copy = graph.clone(pipeline.run(model, pipeline.parse(f"fold-batch-norm{share}")).model)
    values = [
        copy.graph.initializers[str(layer.mask.weight.name)]
        for layer in read(copy).layers
        if layer.mask is not None
        and (layer.weights.kind == KIND if basis else layer.nest.kernel_area > 1)
    ]
    arrays = [value.const_value.numpy() for value in values if value.const_value is not None]
    sizes = [np.abs(array) / np.sqrt(np.mean(array**2)) for array in arrays]
    least = np.quantile(np.concatenate([size.ravel() for size in sizes]), 1 - density)
    for value, array, size in zip(values, arrays, sizes, strict=True):
        kept = np.where(size >= least, array, np.float32(0))
        value.const_value = ir.Tensor(kept, name=value.name)
    return copy


def measure(case: Case, weights: Mapping[str, str]) -> list[Mapping[str, object]]:
    """Cycles and energy on each machine, by those of the dense network on the dense one.

    Args:
        case: the network.
        weights: file of trained weights, by network; random ones for others.
    """
    model, table = mlcnn.load(case.network, weights=weights.get(case.network)), load_technology()
    dense = network_tasks(model, batch=_BATCH)
    small = model if case.density == 1 else pruned(model, case.density, case.basis)
    tasks = network_tasks(small, batch=_BATCH)
    whole = Costs(evaluate_layer(task, load_accelerator(_AGAINST), table) for task in dense)
    found: list[Mapping[str, object]] = []
    for name in _MACHINES:
        costs = Costs(evaluate_layer(task, load_accelerator(name), table) for task in tasks)
        balances = [float(str(c.mapping["balance"])) for c in costs if c.skips_zeros]
        found.append(
            asdict(case)
            | {
                "machine": name,
                "cycles": costs.cycles / whole.cycles,
                "energy": costs.energy_pj / whole.energy_pj,
                "without_zeros": len(balances),
                "layers": len(costs),
                "balance": fmean(balances) if balances else None,
            }
        )
    return found


def main() -> None:
    """Evaluate all cases."""
    parser = arguments(__doc__, "sparse_array")
    parser.add_argument("--weights", action="append", default=[], metavar="NETWORK=FILE.npz")
    options = parser.parse_args()
    weights = dict(one.split("=", 1) for one in options.weights)
    rows = [row for case in CASES for row in measure(case, weights)]
    title = f"over the dense network on {_AGAINST}, batch {_BATCH}"
    show(title, list(rows[0]), [[_text(value) for value in row.values()] for row in rows])
    write(options, {"batch": _BATCH, "against": _AGAINST, "rows": rows})


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
