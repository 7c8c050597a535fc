"""How to train: everything that decides the result, but for the seed."""

from dataclasses import dataclass
from math import cos, pi

from mlcnn.errors import InputError

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stochastic gradient descent with momentum and a cosine schedule.

    Attributes:
        epochs: passes over the data.
        batch_size: images per step; a last, smaller batch is used too.
        learning_rate: its peak.
        momentum: of the gradient (Nesterov's where ``nesterov``).
        weight_decay: L2 penalty on every parameter.
        warmup_epochs: epochs over which the learning rate rises linearly.
        label_smoothing: of the cross-entropy loss.
        crop: zero padding, in pixels, of the random crops; 0 for none.
        flip: mirror half of the images left to right.
        mean: per channel, of images in 0..1.
        std: per channel, of images in 0..1.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    crop: int = 4
    flip: bool = True
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, ...] = (0.2023, 0.1994, 0.2010)

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

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate after ``epoch`` epochs, which may be a fraction.

        Linear warm-up, then half a cosine down to zero [Loshchilov 2017, Eq. 5].
        """
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        span = max(self.epochs - self.warmup_epochs, 1e-9)
        progress = min((epoch - self.warmup_epochs) / span, 1.0)
        return self.learning_rate * (1 + cos(pi * progress)) / 2
