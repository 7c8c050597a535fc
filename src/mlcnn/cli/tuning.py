"""The options of fine-tuning with a network's rounding, as a group."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import mlcnn

if TYPE_CHECKING:
    from mlcnn.api import TuneOptions

__all__ = ["Tuning"]


@Parameter(name="*", group="Fine-tuning")
@dataclass(frozen=True, slots=True)
class Tuning:
    """How a network is fine-tuned with its rounding, if it is.

    Attributes:
        finetune: epochs of training with DoReFa's rounding, as 0.1 or 2; calibrated only without.
        learning_rate: its peak; it falls along half a cosine.
        flip: mirror half of the training images left to right.
        weight_range: what weights are divided by before they are rounded; sigma, a multiple of each
            filter's standard deviation, or tanh, DoReFa's over the layer.
        input_range: where activations are cut off; learned, with the weights (PACT), calibrated,
            where calibration images say, or unit, at 1 as DoReFa has it.
        training_precision: of convolutions and products while it trains; bf16 is quicker where the
            processor has it.
        training_device: cpu, or cuda, where it trains; by default where the engines run.
    """

    finetune: float | None = None
    learning_rate: Annotated[float, Parameter(alias="--lr")] = 0.01
    flip: Annotated[bool, Parameter(negative="--no-flip")] = True
    weight_range: Literal["sigma", "tanh"] = "sigma"
    input_range: Literal["learned", "calibrated", "unit"] = "learned"
    training_precision: Literal["fp32", "bf16"] = "fp32"
    training_device: str | None = None

    def options(self, device: str, seed: int, checkpoint: Path) -> "TuneOptions | None":
        """The same for the API; None for no training.

        Args:
            device: where it trains unless said otherwise.
            seed: of what is drawn.
            checkpoint: file to write, and to go on from.

        Raises:
            InputError: an option is out of range.
        """
        if self.finetune is None:
            return None
        if self.training_device is not None:
            mlcnn.training.require_device(self.training_device, "--training-device")
        return mlcnn.api.TuneOptions(
            self.finetune,
            self.learning_rate,
            flip=self.flip,
            weight_range=mlcnn.api.WeightRange(self.weight_range),
            input_range=mlcnn.api.InputRange(self.input_range),
            hardware=mlcnn.training.Hardware(
                self.training_device or device, mlcnn.training.Precision(self.training_precision)
            ),
            seed=seed,
            checkpoint=checkpoint,
        )
