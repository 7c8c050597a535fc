"""A layer of the hardware against the integer model and the model of cycles, image by image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.array.steps import Hardware
from mlcnn.rtl.configuration import Configuration
from mlcnn.rtl.integer import run_layer
from mlcnn.rtl.network import HardwareStep
from mlcnn.rtl.tiling import LayerTiling
from mlcnn.rtl.timing import steps_of, tiles

__all__ = ["Apart", "Comparison", "LayerRun", "Took"]

Whole = NDArray[np.int64]


class Took(Protocol):
    """What a layer took in the hardware: ``LayerCycles``."""

    @property
    def cycles(self) -> int:
        """Of the layer."""
        ...

    @property
    def steps(self) -> tuple[int, ...]:
        """Cycles of each step."""
        ...


@dataclass(frozen=True, slots=True)
class Apart:
    """The first code of a layer that differs.

    Attributes:
        image: number of the image, from 0.
        index: output channel, row and column.
        hardware: its code.
        model: that of the integer model.
        tile: number of the tile that it is of, from 0.
        step: number of the step in which the tile leaves, from 0.
    """

    image: int
    index: tuple[int, int, int]
    hardware: int
    model: int
    tile: int
    step: int

    def __str__(self) -> str:
        channel, row, column = self.index
        return (
            f"image {self.image}, channel {channel}, row {row}, column {column}: the hardware has "
            f"{self.hardware}, the integer model {self.model}; tile {self.tile}, step {self.step}"
        )


@dataclass(frozen=True, slots=True)
class LayerRun:
    """What a layer took, and whether it is right.

    Attributes:
        name: of the layer.
        fused: whether its inputs were summed first.
        tiling: how it was cut.
        cycles: that it took for the first image.
        model_cycles: that the model says.
        most_apart: largest difference of the two over all images, of what the hardware took more.
        first_step: the first step of the first image whose cycles are not the model's, from 0 on,
            with both; None where there is none.
        apart: the first code that differs; None where all are the same.
        set_by: share of the steps' cycles that each unit set, without stalls.
    """

    name: str
    fused: bool
    tiling: LayerTiling
    cycles: int
    model_cycles: int
    most_apart: int
    first_step: tuple[int, int, int] | None
    apart: Apart | None
    set_by: Mapping[str, float]

    @property
    def bit_exact(self) -> bool:
        """Whether all codes of all images are those of the integer model."""
        return self.apart is None


class Comparison:
    """What is found of a layer, image by image.

    Args:
        step: the layer.
        tiling: how it is cut.
        configuration: what the hardware is told.
        hardware: what is built, and its memory.
    """

    def __init__(
        self,
        step: HardwareStep,
        tiling: LayerTiling,
        configuration: Configuration,
        hardware: Hardware,
    ) -> None:
        self._step, self._tiling = step, tiling
        self._configuration, self._hardware = configuration, hardware
        self._cycles = (0, 0)
        self._most_apart = 0
        self._first_step: tuple[int, int, int] | None = None
        self._differs: tuple[int, tuple[int, int, int], int, int] | None = None

    def time(self, number: int, took: Took, cycles: int, steps: tuple[int, ...]) -> None:
        """Add what an image took, and the cycles of the layer and its steps by the model."""
        if number == 0:
            self._cycles = took.cycles, cycles
            self._first_step = _first_apart(took.steps, steps)
        if abs(took.cycles - cycles) > abs(self._most_apart):
            self._most_apart = took.cycles - cycles

    def compare(self, number: int, read: Whole, codes: Whole) -> None:
        """Compare the codes of an image with those of the integer model, for what it read."""
        model = run_layer(self._step.layer, read)
        if self._differs is None and (model != codes).any():
            channel, row, column = (int(one) for one in np.argwhere(model != codes)[0])
            index = channel, row, column
            self._differs = number, index, int(codes[index]), int(model[index])

    def result(self) -> LayerRun:
        """All of it."""
        return LayerRun(
            self._step.name,
            self._step.layer.fused,
            self._tiling,
            *self._cycles,
            self._most_apart,
            self._first_step,
            self._apart(),
            _set_by(self._configuration, self._hardware),
        )

    def _apart(self) -> Apart | None:
        if self._differs is None:
            return None
        number, (channel, row, column), hardware, model = self._differs
        tile = next(
            at
            for at, one in enumerate(tiles(self._configuration))
            if 0 <= channel - one.first_filter < one.filters
            and 0 <= row - one.first_line < one.lines
            and 0 <= column - one.first_column < one.line
        )
        # One step loads first, and a tile leaves while the first chunk of the next is at work.
        step = (tile + 1) * self._configuration.chunks + 1
        return Apart(number, (channel, row, column), hardware, model, tile, step)


def _first_apart(took: tuple[int, ...], steps: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The first step whose cycles are not the model's: its number and both."""
    pairs = enumerate(zip(took, steps, strict=False))
    return next(((at, *pair) for at, pair in pairs if pair[0] != pair[1]), None)


def _set_by(configuration: Configuration, hardware: Hardware) -> dict[str, float]:
    steps = steps_of(configuration, hardware)
    units = {"loads": steps.load, "array": steps.compute, "stores": steps.leave}
    slowest = np.stack([*units.values()]).argmax(0)
    total = int(steps.cycles.sum())
    return {name: float(steps.cycles[slowest == at].sum() / total) for at, name in enumerate(units)}
