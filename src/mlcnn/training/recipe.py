"""How to train: everything that decides the result, but for the seed and the hooks."""

from dataclasses import dataclass
from enum import StrEnum
from math import cos, pi

from mlcnn.errors import InputError

__all__ = ["Optimizer", "Recipe"]


class Optimizer(StrEnum):
    """How gradients change the weights."""

    SGD = "sgd"
    ADAMW = "adamw"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stochastic gradient descent with a cosine schedule.

    Attributes:
        epochs: passes over the data.
        batch_size: images per step, of all processes together; a last, smaller batch is used too.
        learning_rate: its peak.
        optimizer: SGD with momentum, or AdamW [Loshchilov 2019].
        momentum: of the gradient (Nesterov's where ``nesterov``); for AdamW its first beta.
        nesterov: for SGD.
        weight_decay: L2 penalty on every parameter; decoupled for AdamW.
        warmup_epochs: epochs over which the learning rate rises linearly.
        label_smoothing: of the cross-entropy loss.
        crop: zero padding, in pixels, of the random crops; 0 for none.
        flip: mirror half of the images left to right.
        mixup: both parameters of the beta distribution by which pairs of images are mixed
            [Zhang 2018]; 0 for none.
        ema: share of the old average in the moving average of the weights, which is then what is
            validated and kept; 0 for none.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.05
    optimizer: Optimizer = Optimizer.SGD
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    crop: int = 4
    flip: bool = True
    mixup: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or self.learning_rate < 0 or self.crop < 0:
            msg = (
                "a recipe needs epochs, learning_rate and crop of at least 0 and a batch_size of "
                f"at least 1, got {self}"
            )
            raise InputError(msg)
        if not 0 <= self.momentum < 1 or (self.nesterov and self.momentum == 0):
            msg = f"momentum must lie in [0, 1), above 0 with nesterov, got {self.momentum}"
            raise InputError(msg)
        if not 0 <= self.label_smoothing < 1 or not 0 <= self.ema < 1 or self.mixup < 0:
            msg = (
                "label_smoothing and ema must lie in [0, 1) and mixup must be at least 0, got "
                f"{self.label_smoothing}, {self.ema} and {self.mixup}"
            )
            raise InputError(msg)

    @property
    def augments(self) -> bool:
        """Whether an image differs from epoch to epoch."""
        return bool(self.crop or self.flip or self.mixup)

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate after ``epoch`` epochs, which may be a fraction.

        Linear warm-up, then half a cosine down to zero [Loshchilov 2017, Eq. 5].
        """
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        span = max(self.epochs - self.warmup_epochs, 1e-9)
        progress = min((epoch - self.warmup_epochs) / span, 1.0)
        return self.learning_rate * (1 + cos(pi * progress)) / 2
