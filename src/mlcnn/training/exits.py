"""Heads on the way that train together with the network that they stand in."""

from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.training.hooks import Hook, Step

__all__ = ["Exits", "FirstOutput"]


class FirstOutput(nn.Module):
    """A network of several outputs as one of the first alone, for the loop; it keeps the others.

    Attributes:
        network: returns a tuple: scores of the end, and of each head.
        heads: what the heads said last.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.heads: tuple[Tensor, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        """The scores of the end, shape (images, classes)."""
        end, *heads = self.network(images)
        self.heads = tuple(heads)
        return end


@dataclass(slots=True)
class Exits(Hook):
    """Adds to the loss what each head loses to labels and teacher [BranchyNet; Phuong 2019].

    A head's own loss is that of the end: the cross entropy that it gives the most likely class of
    the end and its distance from what the end says, which no gradient reaches. So heads learn from
    augmented images without labels of their own, and the end is held back by nothing but them.

    Attributes:
        weight: of all heads together, beside 1 for the end.
        temperature: by which scores are divided.
    """

    weight: float = 1.0
    temperature: float = 2.0

    @property
    def told(self) -> str:
        """Weight and temperature."""
        return f"Exits(weight={self.weight}, temperature={self.temperature})"

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss with the heads'."""
        if not isinstance(step.module, FirstOutput):
            raise TypeError("heads train in a FirstOutput")
        taught = F.log_softmax(step.logits.detach() / self.temperature, 1)
        heads = step.module.heads
        for scores in heads:
            learnt = F.log_softmax(scores.float() / self.temperature, 1)
            each = F.kl_div(learnt, taught, reduction="none", log_target=True).sum(1)
            each = self.temperature**2 * each
            loss = loss + self.weight / len(heads) * step.mean(each)
        return loss
