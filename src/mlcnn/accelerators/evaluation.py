"""One layer on one machine: everything that a result shows."""

from dataclasses import dataclass

from mlcnn.accelerators.axis import Execution
from mlcnn.accelerators.description import Accelerator
from mlcnn.accelerators.energy import Energy, energy
from mlcnn.accelerators.search import SLACK, Chosen, choose
from mlcnn.accelerators.technology import Technology
from mlcnn.accelerators.traffic import Executed, Traffic, executed, traffic
from mlcnn.accelerators.work import Work, executions
from mlcnn.counting import Reuse, fused, original
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer

__all__ = ["LayerCost", "LayerTask", "evaluate_layer"]


@dataclass(frozen=True, slots=True)
class LayerTask:
    """A layer to run.

    Attributes:
        layer: the loop nest; with a pool where it can be fused.
        scaled: whether its inputs are scaled and rectified for this consumer alone, as in a
            network with batch norm in front of the convolution.
        sole_consumer: whether it alone reads what one convolution wrote, so that the convolution
            could have written box sums.
    """

    layer: ConvLayer
    scaled: bool = False
    sole_consumer: bool = False


@dataclass(frozen=True, slots=True)
class LayerCost:
    """A layer on a machine.

    Attributes:
        name: the layer's.
        chosen: execution, tiling, cycles and what sets them.
        multiplications: of the layer in this execution, as ``mlcnn.counting`` counts.
        additions: the same; box sums shared by all filters.
        utilisation: multiplications over what all multipliers could have done, 0 to 1.
        traffic: bytes by operand and level.
        executed: operations that the machine executes.
        energy: by part.
    """

    name: str
    chosen: Chosen
    multiplications: int
    additions: int
    utilisation: float
    traffic: Traffic
    executed: Executed
    energy: Energy

    @property
    def cycles(self) -> float:
        """From the first load to the last store."""
        return self.chosen.cycles

    @property
    def bound(self) -> str:
        """What sets most of the cycles."""
        return self.chosen.bound

    @property
    def fused(self) -> bool:
        """Whether convolution and pool run as one."""
        return self.chosen.work.execution is Execution.FUSED


def evaluate_layer(
    task: LayerTask, machine: Accelerator, technology: Technology, *, slack: float = SLACK
) -> LayerCost:
    """Run one layer in the way that is fastest on ``machine``.

    Args:
        task: the layer.
        machine: the accelerator.
        technology: the tables.
        slack: see ``choose``.

    Raises:
        InfeasibleError: the machine can run the layer in no way.
    """
    found: list[Chosen] = []
    failures: list[InfeasibleError] = []
    for work in _ways(task, machine):
        try:
            found.append(choose(work, machine, slack))
        except InfeasibleError as error:
            failures.append(error)
    if not found:
        raise failures[0]
    return _cost(
        min(found, key=lambda chosen: (chosen.cycles, chosen.dram_bytes)), machine, technology
    )


def _ways(task: LayerTask, machine: Accelerator) -> tuple[Work, ...]:
    return executions(task.layer, machine, scaled=task.scaled, sole_consumer=task.sole_consumer)


def _cost(chosen: Chosen, machine: Accelerator, technology: Technology) -> LayerCost:
    work = chosen.work
    moved = traffic(work, chosen.tiling, machine, chosen.ways)
    done = executed(work, chosen.tiling, machine, chosen.ways)
    counted = original(work.layer)
    multiplications = counted.multiplications
    additions = counted.additions
    if work.execution is Execution.FUSED:
        counted = fused(work.layer, Reuse.SHARED)
        multiplications, additions = counted.multiplications, counted.additions
    elif work.execution is Execution.WINOGRAD:
        multiplications = done.multiplications
        additions = (
            done.tree_additions + done.accumulations + done.input_additions + done.output_additions
        )
    useful = multiplications / (chosen.cycles * machine.multiplications_per_cycle)
    spent = energy(machine, technology, moved, done, chosen.cycles)
    return LayerCost(
        work.layer.name, chosen, multiplications, additions, useful, moved, done, spent
    )
