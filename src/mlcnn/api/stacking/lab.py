"""What every step of a stack works with."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.recovery import Teaching
from mlcnn.api.training import TrainOptions
from mlcnn.training import Data, Normal

__all__ = ["ON_MACHINES", "Lab"]

ON_MACHINES = "machines"
"""Where hardware computes: what engines are slow at, it is not."""


def _quiet(message: str) -> None:
    del message


@dataclass(frozen=True, slots=True)
class Lab:
    """Images, the teacher, and how networks are trained.

    Attributes:
        original: the network as it was: it teaches, and accuracy is compared with its.
        data: what to train, to calibrate and to choose on; test images choose nothing.
        normal: what the network takes for an image.
        options: how to train.
        teaching: how much the original teaches.
        engine: in which forms are chosen by measured time; ``ON_MACHINES`` for every site fused
            that can be; None for an estimate.
        tell: told how the work goes on.
        say: told what the user should know.
    """

    original: ir.Model
    data: Data
    normal: Normal
    options: TrainOptions
    teaching: Teaching = field(default_factory=lambda: Teaching(temperature=4.0))
    engine: str | None = None
    tell: Progress = silent
    say: Callable[[str], None] = _quiet

    @property
    def as_they_go(self) -> ImageOptions:
        """How the images go to the network, for verbs that ask."""
        return ImageOptions(mean=self.normal.mean, std=self.normal.std, scale=self.normal.scale)

    def key(self, text: str) -> str:
        """A name for what a stack comes to: another one for other images, weights or recipes.

        Args:
            text: of the stack.
        """
        told = [text, self.data.name, self.normal, self.options, self.teaching, self.engine]
        key = hashlib.sha256("\n".join(map(repr, told)).encode())
        for part in (self.data.training, self.data.calibration, self.data.validation):
            key.update(part.labels.tobytes())
        key.update(graph.to_proto(self.original).SerializeToString(deterministic=True))
        return key.hexdigest()[:16]


Folder = Path | None
"""Where the checkpoints of a step go; None for nowhere."""
