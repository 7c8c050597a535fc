"""What the mapper proves of each layer of a network: value, gap and processor time.

python -m benchmarks.mapping_proofs --machines gemmini simba --objectives edp --budget 60
"""

import argparse
import resource
import time
from dataclasses import dataclass
from functools import partial

from benchmarks.mapping import RESNET18
from mlcnn.codesign import Architecture, Objective, find_mapping, load_architecture
from mlcnn.workload import ConvLayer, LoopNest, loop_nest

__all__ = ["NETWORKS", "VGG16", "Proof", "main", "proof"]

_KB_PER_MB = 1024


def _conv(name: str, channels: int, filters: int, size: int) -> ConvLayer:
    return ConvLayer(name, 1, filters, channels, size, size, 3, 3, pads=(1, 1, 1, 1))


VGG16 = (
    _conv("conv1_1", 3, 64, 224),
    _conv("conv1_2", 64, 64, 224),
    _conv("conv2_1", 64, 128, 112),
    _conv("conv2_2", 128, 128, 112),
    _conv("conv3_1", 128, 256, 56),
    _conv("conv3_2", 256, 256, 56),
    _conv("conv4_1", 256, 512, 28),
    _conv("conv4_2", 512, 512, 28),
    _conv("conv5", 512, 512, 14),
    ConvLayer("fc6", 1, 4096, 25088, 1, 1, 1, 1),
    ConvLayer("fc7", 1, 4096, 4096, 1, 1, 1, 1),
    ConvLayer("fc8", 1, 1000, 4096, 1, 1, 1, 1),
)
"""The distinct layers of VGG-16 at 224 x 224, batch 1."""

NETWORKS = {"resnet18": RESNET18, "vgg16": VGG16}


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of one layer.

    Attributes:
        value: of the objective.
        gap: share by which it may be above the optimum; 0 where it is optimal.
        optimal: whether that is proven.
        seconds: of the processor.
        mapping: as text.
    """

    value: float
    gap: float
    optimal: bool
    seconds: float
    mapping: str


def proof(nest: LoopNest, machine: Architecture, objective: Objective, budget_s: float) -> Proof:
    """Search one layer.

    Args:
        nest: the layer.
        machine: what it is mapped on.
        objective: what is made small.
        budget_s: seconds after which the best so far is taken.
    """
    begun = time.process_time()
    found = find_mapping(nest, machine, objective, budget_s=budget_s)
    seconds = time.process_time() - begun
    return Proof(found.value, found.gap, found.optimal, seconds, found.mapping.text(machine))


def _print(network: str, machine: Architecture, objective: Objective, budget_s: float) -> None:
    print(f"{network} on {machine.name}, {objective}")
    prove = partial(proof, machine=machine, objective=objective, budget_s=budget_s)
    proofs = [(layer.name, prove(loop_nest(layer))) for layer in NETWORKS[network]]
    for name, one in proofs:
        known = "proven" if one.optimal else f"{one.gap:.2%} gap"
        print(f"  {name:20} {one.value:13.6e} {known:>10} {one.seconds:7.2f} s  {one.mapping}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KB_PER_MB
    print(
        f"  {sum(one.optimal for _, one in proofs)} of {len(proofs)} proven, "
        f"{sum(one.seconds for _, one in proofs):.2f} s of the processor, "
        f"{peak_mb:,.0f} MB at most so far"
    )


def main() -> None:
    """Print what is proven of every layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="resnet18")
    parser.add_argument("--machines", nargs="+", default=["gemmini"], help="templates")
    parser.add_argument(
        "--objectives", nargs="+", type=Objective, choices=list(Objective), default=list(Objective)
    )
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a layer")
    given = parser.parse_args()
    for name in given.machines:
        machine = load_architecture(name)
        find_mapping(loop_nest(RESNET18[-1]), machine, budget_s=0.1)  # compiles the kernel
        for objective in given.objectives:
            _print(given.network, machine, objective, given.budget)


if __name__ == "__main__":
    main()
