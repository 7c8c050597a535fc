"""Fine-tune a network with its rounding, with the network in floats as the teacher."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn import nn, training
from mlcnn.api.optimizing import Progress
from mlcnn.errors import InputError
from mlcnn.training import Data, Hardware, History, Normal, Recipe, Teacher
from mlcnn.training.quantisation import InputRange, Setting, WeightRange
from mlcnn.training.quantisation.fine_tuning import rounded_module

__all__ = ["TuneOptions", "Tuned", "tune"]

_STATISTICS = 1280  # images that batch norms are re-estimated on


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How to fine-tune with the rounding.

    Attributes:
        epochs: passes over the training images; a fraction takes that part of them once.
        learning_rate: its peak; it falls along half a cosine.
        batch_size: images of one step.
        flip: mirror half of the images left to right.
        weight_range: what weights are divided by: ``sigma``, a multiple of each filter's standard
            deviation, or ``tanh`` as Eq. 9 has it.
        input_range: where activations are cut off: ``learned``, with the weights (PACT),
            ``calibrated``, where calibration images say, or ``unit``, at 1 as DoReFa has it.
        hardware: where.
        seed: of the shuffling and the augmentation.
        checkpoint: file to write and to go on from if it exists.
    """

    epochs: float
    learning_rate: float = 0.01
    batch_size: int = 128
    flip: bool = True
    weight_range: WeightRange = WeightRange.SIGMA
    input_range: InputRange = InputRange.LEARNED
    hardware: Hardware = field(default_factory=Hardware)
    seed: int = 0
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epochs) and self.epochs > 0):
            raise InputError(f"--finetune {self.epochs}: a number of epochs above 0 is required")

    @property
    def recipe(self) -> Recipe:
        """The same for the loop."""
        return Recipe(
            epochs=math.ceil(self.epochs),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=1e-4,
            flip=self.flip,
        )

    def images(self, data: Data) -> training.ImageSet:
        """The training images, or the part of them that a fraction of an epoch has."""
        share = self.epochs / math.ceil(self.epochs)
        return data.training.first(math.ceil(share * len(data.training)))


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A network that was fine-tuned with its rounding.

    Attributes:
        model: in codes.
        classes: what the module that was trained says of the test images, shape (images,).
        history: the epochs of its training.
    """

    model: ir.Model
    classes: NDArray[np.int64]
    history: History


def tune(
    model: ir.Model,
    data: Data,
    normal: Normal,
    setting: Setting,
    options: TuneOptions,
    *,
    calibration: NDArray[np.float32],
    tests: training.ImageSet,
    progress: Progress,
    original: ir.Model | None = None,
) -> Tuned:
    """Fine-tune a network with DoReFa's rounding, and write it in codes.

    Batch norms are re-estimated on training images first, with the weights rounded, where that is
    better. The network in floats teaches; the best epoch is chosen on the validation images.

    Args:
        model: the network in floats; it is not changed.
        data: labelled images.
        normal: what the network takes for an image.
        setting: bits.
        options: how to train.
        calibration: images that ranges come from, as the network takes them.
        tests: images to compare the module and the codes on.
        progress: told how the work goes on.
        original: the teacher; the network in floats for None.

    Raises:
        InputError: training diverges, or the checkpoint is of another run.
    """
    rounded = rounded_module(
        model,
        calibration,
        weight_bits=setting.weight_bits,
        input_bits=setting.input_bits,
        kind=options.weight_range,
        input_range=options.input_range,
        progress=progress,
    )
    progress("re-estimate batch norms", 0, 0)
    _reestimate(rounded.module, data, normal, options.hardware)
    history = training.train(
        rounded.module,
        options.images(data),
        options.recipe,
        normal=normal,
        validation=data.validation,
        seed=options.seed,
        hooks=(Teacher(nn.to_module(original or model)),),
        hardware=options.hardware,
        checkpoint=options.checkpoint,
        tell=lambda done, total: progress("fine-tune", done, total),
    )
    rounded.module.cpu()
    progress("test", 0, 0)
    classes = training.logits(rounded.module, tests, normal).argmax(1).numpy()
    return Tuned(rounded.to_codes(), classes, history)


def _reestimate(module: torch.nn.Module, data: Data, normal: Normal, hardware: Hardware) -> None:
    """Take the statistics of batch norms anew, if that is better on the validation images.

    With few bits it is; with 8 the statistics of all training images are worth more.
    """
    hardware.place(module)
    kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    def right() -> float:
        return float(training.right_images(module, data.validation, normal, hardware).mean())

    before = right()
    training.reestimate(module, data.training.first(_STATISTICS), normal, hardware)
    if right() < before:
        module.load_state_dict(kept)
