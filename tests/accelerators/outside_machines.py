"""Machines from outside the package: what a package of somebody else's would hold.

Each counts in a way that can be repeated by hand.
"""

import math
from dataclasses import dataclass

from mlcnn.accelerators import Document, Energy, Infeasible, LayerCost, Traffic
from mlcnn.errors import InfeasibleError
from mlcnn.workload import DENSE, Arithmetic


class CrossbarsFile(Document):
    """The YAML file of ``Crossbars``."""

    name: str
    clock_mhz: float
    crossbars: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Crossbars:
    """An in-memory array: all weights of a layer lie in crossbars, and a position takes a cycle."""

    name: str
    clock_mhz: float
    crossbars: int
    rows: int
    columns: int

    @classmethod
    def from_description(cls, description):
        return cls(**description.read(CrossbarsFile).model_dump())

    def _needed(self, nest):
        return nest.G * math.ceil(nest.products / self.rows) * math.ceil(nest.K / self.columns)

    def takes(self, layer):
        needed = self._needed(layer.nest)
        if needed <= self.crossbars:
            return None
        return Infeasible(
            f"{self.name} cannot run {layer.name}: its weights fill {needed} crossbars and there "
            f"are {self.crossbars}; raise crossbars",
            needed, self.crossbars, "crossbars", ("crossbars",),
        )  # fmt: skip

    def cost(self, task, technology):
        if (why := self.takes(task.layer)) is not None:
            raise InfeasibleError(str(why))
        nest = task.nest
        needed, positions = self._needed(nest), nest.N * nest.P * nest.Q
        moved = Traffic(
            dram_input=nest.N * nest.C * nest.H * nest.W,
            dram_output=nest.N * nest.K * math.prod(nest.pooled),
        )
        return LayerCost(
            name=nest.name,
            execution="in memory",
            cycles=positions,
            bound="converters",
            utilisation=nest.weights / (needed * self.rows * self.columns),
            multiplications=nest.macs,
            additions=nest.macs - nest.N * nest.K * nest.outputs,
            traffic=moved,
            energy=Energy(dram=8 * moved.dram * technology.dram.pj_per_bit, mac=positions * needed),
            mapping={"crossbars": needed},
        )

    def area(self, technology):
        return 100.0 * self.crossbars


@dataclass(frozen=True)
class Transforms:
    """A transform engine: takes circulant weights, one product of a block a cycle."""

    name: str = "transforms"
    clock_mhz: float = 500.0

    @classmethod
    def from_description(cls, description):
        return cls(description.values["name"])

    def takes(self, layer):
        if layer.weights.kind == "circulant":
            return None
        return Infeasible(
            f"{self.name} takes circulant weights and {layer.name} has {layer.weights} ones",
            1, 0, "circulant layers", unknown=True,
        )  # fmt: skip

    def cost(self, task, technology):
        (block,) = (value for name, value in task.layer.weights.options if name == "block")
        products = task.nest.macs // int(block)
        return LayerCost(
            task.layer.name, "transformed", products, "butterflies", 1.0, products, 2 * products,
            Traffic(dram_weight=task.nest.weights / block), Energy(mac=products),
        )  # fmt: skip

    def area(self, technology):
        return 2000.0


@dataclass(frozen=True)
class Comparators:
    """A comparator array: adds what weights and inputs compare to; no products at all."""

    name: str = "comparators"
    clock_mhz: float = 1000.0

    @classmethod
    def from_description(cls, description):
        return cls(description.values["name"])

    def takes(self, layer):
        if layer.arithmetic is Arithmetic.COMPARE and layer.weights == DENSE:
            return None
        return Infeasible(f"{self.name} compares", 1, 0, "comparator layers", unknown=True)

    def cost(self, task, technology):
        pairs = task.nest.macs
        return LayerCost(
            task.layer.name, "compared", pairs / 64, "comparators", 1.0, 0, pairs, Traffic(),
            Energy(mac=0.1 * pairs),
        )  # fmt: skip

    def area(self, technology):
        return 50.0


class NoMachine:
    """A class that an entry point names by mistake."""


class MakesNoMachine:
    """A class that reads a file, and what it makes has no cost."""

    name = "half"
    clock_mhz = 1.0

    @classmethod
    def from_description(cls, _):
        return cls()

    def takes(self, layer):
        return None

    def area(self, technology):
        return 0.0


class Careless:
    """A class that raises what its author did not think of."""

    @classmethod
    def from_description(cls, _):
        return cls.__annotations__["missing"]
