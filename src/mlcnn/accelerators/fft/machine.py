"""The FFT engine as a machine: an FFT core in front of an array and behind it."""

from dataclasses import dataclass, replace

from mlcnn.accelerators.array import Array, Chosen, Execution, best_of, cost_of, refused
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import LayerCost, LayerTask
from mlcnn.accelerators.fft.activity import activity
from mlcnn.accelerators.fft.area import core_area, engine_area
from mlcnn.accelerators.fft.core import Core
from mlcnn.accelerators.fft.energy import core_energy
from mlcnn.accelerators.fft.spectral import PooledSpectral, Spectral, block_of, in_blocks
from mlcnn.accelerators.machine import Infeasible
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InfeasibleError
from mlcnn.ops.block_circulant import KIND
from mlcnn.workload import DENSE, ConvLayer, Layer

__all__ = ["FftEngine"]


@dataclass(frozen=True, slots=True)
class FftEngine:
    """An array of slices between the two directions of one FFT core.

    Attributes:
        array: multiplies bins, and runs whatever is not block-circulant as it is.
        core: transforms inputs as they come in and outputs as they leave.
    """

    array: Array
    core: Core

    def __post_init__(self) -> None:
        self.core.check(f"accelerator {self.name}")

    @property
    def name(self) -> str:
        """What results call it."""
        return self.array.name

    @property
    def clock_mhz(self) -> float:
        """Clock of all of it."""
        return self.array.clock_mhz

    @property
    def precision(self) -> Precision:
        """Of weights and activations."""
        return self.array.precision

    def ways(self, task: LayerTask) -> tuple[Work, ...]:
        """Every way in which the engine can run a layer: in blocks, and as the dense one."""
        block, dense = block_of(task.layer), self.array.ways(task)
        if not self.core.takes(block):
            return dense
        return (*self._in_blocks(task, block), *dense)

    def _in_blocks(self, task: LayerTask, block: int) -> tuple[Work, ...]:
        executions = self._executions(task.nest, block)
        return tuple(self._works(task, execution) for execution in executions)

    def _works(self, task: LayerTask, execution: Spectral) -> Work:
        nest = in_blocks(task.nest, execution.points)
        return Work(nest, self.precision, execution, scaled=task.scaled)

    def _executions(self, nest: ConvLayer, block: int) -> tuple[Spectral, ...]:
        plain = Spectral(block, self.core)
        pool = nest.pool
        if pool is None or not self.array.input_adders or not pool.is_plain(nest.P, nest.Q):
            return (plain,)
        return PooledSpectral(block, self.core), plain

    def takes(self, layer: Layer) -> Infeasible | None:
        """See ``Machine``: block-circulant weights, and what an array takes."""
        dense = _dense(layer)
        why = self.array.unknown(dense)
        return refused(self.ways(LayerTask(layer)), self.array) if why is None else why

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """See ``Machine``; blocks that the core does not take run as the dense layer."""
        if (why := self.array.unknown(_dense(task.layer))) is not None:
            raise InfeasibleError(str(why))
        return self._cost_of(best_of(self.ways(task), self.array), technology)

    def cost_in_blocks(self, task: LayerTask, technology: Technology) -> LayerCost:
        """Cost of a layer whose blocks the core takes, in blocks even where dense is faster.

        Args:
            task: the layer.
            technology: the tables.

        Raises:
            InfeasibleError: the core takes no blocks of this size.
        """
        block = block_of(task.layer)
        if not self.core.takes(block):
            raise InfeasibleError(f"{task.nest.name} on {self.name}: no blocks of {block}")
        return self._cost_of(best_of(self._in_blocks(task, block), self.array), technology)

    def _cost_of(self, chosen: Chosen, technology: Technology) -> LayerCost:
        found = cost_of(chosen, self.array, technology)
        execution: Execution = chosen.work.execution
        if not isinstance(execution, Spectral):
            return found
        done = activity(chosen, execution, self.array)
        size = core_area(self.core, self.array, technology)
        return replace(
            found,
            multiplications=found.multiplications + done.operations.multiplications,
            additions=found.additions + done.operations.additions,
            energy=found.energy + core_energy(done, self.array, technology, size, found.cycles),
            mapping={
                **found.mapping,
                "block": execution.points,
                "transformed": done.transformed,
                "inverted": done.inverted,
            },
        )

    def area(self, technology: Technology) -> float:
        """See ``Machine``; ``mlcnn.accelerators.fft.engine_area`` gives the parts."""
        return engine_area(self.core, self.array, technology).total


def _dense(layer: Layer) -> Layer:
    """A block-circulant layer as the dense one that it stands for; any other as it is."""
    if layer.weights.kind != KIND:
        return layer
    return replace(layer, weights=DENSE, form=None, parts=(layer.nest,))
