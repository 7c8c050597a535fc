"""A machine: all weights of a layer lie in crossbars of 128 x 64, and a position takes a cycle."""

import math
from dataclasses import dataclass

from mlcnn.accelerators import Document, Energy, Infeasible, LayerCost, LayerTask, Traffic
from mlcnn.accelerators.border import Description
from mlcnn.accelerators.technology import Technology
from mlcnn.workload import ConvLayer, Layer

__all__ = ["Crossbars"]

_ROWS, _COLUMNS = 128, 64


class File(Document):
    """The YAML file: an unknown key is an error with its line."""

    name: str
    clock_mhz: float
    crossbars: int


@dataclass(frozen=True)
class Crossbars:
    """A machine is whatever has these two fields and four methods."""

    name: str
    clock_mhz: float
    crossbars: int

    @classmethod
    def from_description(cls, description: Description) -> "Crossbars":
        """The machine that a YAML file describes."""
        return cls(**description.read(File).model_dump())

    def _needed(self, nest: ConvLayer) -> int:
        return nest.G * math.ceil(nest.products / _ROWS) * math.ceil(nest.K / _COLUMNS)

    def takes(self, layer: Layer) -> Infeasible | None:
        """None, or why not: the reason in words, demand, bound, unit, levers."""
        needed = self._needed(layer.nest)
        if needed <= self.crossbars:
            return None
        reason = (
            f"{layer.name} fills {needed} crossbars and {self.name} has {self.crossbars}; "
            "raise crossbars"
        )
        return Infeasible(reason, needed, self.crossbars, "crossbars", ("crossbars",))

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """What a layer takes; energy in pJ, traffic in words."""
        nest = task.nest
        positions, needed = nest.N * nest.P * nest.Q, self._needed(nest)
        read = nest.N * nest.C * nest.H * nest.W
        return LayerCost(
            name=nest.name,
            execution="in memory",
            cycles=positions,
            bound="converters",
            utilisation=nest.weights / (needed * _ROWS * _COLUMNS),
            multiplications=nest.macs,
            additions=nest.macs,
            traffic=Traffic(dram_input=read),
            energy=Energy(dram=8 * read * technology.dram.pj_per_bit, mac=2.0 * positions * needed),
            mapping={"crossbars": needed},  # shown with the layer in the JSON document
        )

    def area(self, technology: Technology) -> float:
        """In um2; a real one asks the technology's tables."""
        del technology
        return 400.0 * self.crossbars
