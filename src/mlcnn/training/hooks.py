"""What a method adds to training: a teacher, a penalty, phases, parameter groups, masks.

A hook overrides what it needs of ``Hook``; the loop knows none of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.training.hardware import Hardware

__all__ = ["Group", "Groups", "Hook", "Masks", "Penalty", "Phase", "Phases", "Step", "Teacher"]

# Of a position in epochs, which is a sum of fractions.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Step:
    """One step of training, seen after the forward pass.

    Attributes:
        module: what trains.
        inputs: shape (images, channels, height, width), of this process.
        indices: which of the training images these are, shape (images,).
        logits: float32, shape (images, classes).
        augmented: whether the same image looks otherwise in another epoch.
        share: what the sum over this process's images is multiplied by, so that the mean over the
            processes is the mean over the batch.
        position: epochs done before this step, a fraction too.
        length: epochs that it is: a fraction.
    """

    module: nn.Module
    inputs: Tensor
    indices: Tensor
    logits: Tensor
    augmented: bool
    share: float
    position: float = 0.0
    length: float = 0.0

    def mean(self, each: Tensor) -> Tensor:
        """The mean over the whole batch of a number for each image of this process."""
        return each.sum() * self.share


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that are trained differently.

    Attributes:
        parameters: patterns of their names, as ``*.bias``.
        rate: factor of the learning rate.
        weight_decay: in place of the recipe's; None for that.
    """

    parameters: tuple[str, ...]
    rate: float = 1.0
    weight_decay: float | None = None


class Hook:
    """Takes part in training where a method overrides it; does nothing by itself."""

    @property
    def told(self) -> str:
        """What a checkpoint remembers of it: equal for hooks that do the same."""
        return type(self).__name__

    def groups(self) -> Sequence[Group]:
        """Parameters that are trained differently; the first that names one counts."""
        return ()

    def start(self, module: nn.Module, images: int, hardware: Hardware) -> None:
        """Before the first step of this call: ``images`` there are, to train on."""

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss to train on, from the loss so far."""
        del step
        return loss

    def gradients(self, module: nn.Module) -> None:
        """Between the backward pass and the step."""

    def stepped(self, module: nn.Module) -> None:
        """Behind the step."""

    def may_end(self, epochs: int) -> bool:
        """Whether the weights after so many epochs may be the result."""
        del epochs
        return True


def _reached(until: float, position: float) -> bool:
    """Whether so many epochs are over; what is short of them by rounding alone is."""
    return position + _ROUNDING >= until


def _end(until: float) -> str:
    """How a checkpoint remembers the end of something that need not have one."""
    return "" if math.isinf(until) else f" until epoch {until:g}"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _require_match(module: nn.Module, patterns: Sequence[str], what: str) -> None:
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(
                f"{what} {pattern!r}: the network has no parameter of this name; it has "
                f"{', '.join(names[:4])}, ..."
            )


@dataclass(slots=True)
class Groups(Hook):
    """Parameters with learning rates and weight decays of their own."""

    listed: tuple[Group, ...]

    @property
    def told(self) -> str:
        """The groups."""
        return str(self.listed)

    def groups(self) -> Sequence[Group]:
        """As they were given."""
        return self.listed

    def start(self, module: nn.Module, images: int, hardware: Hardware) -> None:
        """Refuses a pattern that names nothing."""
        del images, hardware
        for group in self.listed:
            _require_match(module, group.parameters, "parameter group")


@dataclass(slots=True)
class Teacher(Hook):
    """Distillation: the loss has a share of what a trained network says [Hinton 2015].

    ``(1 - weight) * loss + weight * T^2 * KL(softmax(teacher / T), softmax(student / T))``.

    The teacher runs without gradients, and once for each image where images are not augmented.

    Attributes:
        module: the trained network; it takes the same inputs.
        weight: of what it says; the rest is that of the labels.
        temperature: T.
    """

    module: nn.Module
    weight: float = 0.9
    temperature: float = 2.0
    _known: Tensor | None = field(default=None, init=False, repr=False)
    _images: int = field(default=0, init=False, repr=False)

    @property
    def told(self) -> str:
        """Its share and temperature."""
        return f"Teacher(weight={self.weight}, temperature={self.temperature})"

    def start(self, module: nn.Module, images: int, hardware: Hardware) -> None:
        """Moves the teacher to the device, in eval mode."""
        del module
        hardware.place(self.module)
        self.module.eval()
        self._known, self._images = None, images

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss with the teacher's share."""
        taught = F.log_softmax(self._logits(step) / self.temperature, 1)
        learnt = F.log_softmax(step.logits / self.temperature, 1)
        each = F.kl_div(learnt, taught, reduction="none", log_target=True).sum(1)
        return (1 - self.weight) * loss + self.weight * self.temperature**2 * step.mean(each)

    def _logits(self, step: Step) -> Tensor:
        if step.augmented:
            return self._ask(step.inputs)
        if self._known is None:
            size = (self._images, step.logits.shape[1])
            self._known = torch.full(size, torch.nan, device=step.logits.device)
        unknown = self._known[step.indices, 0].isnan()
        if bool(unknown.any()):
            self._known[step.indices[unknown]] = self._ask(step.inputs[unknown])
        return self._known[step.indices]

    def _ask(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self.module(inputs).float()


@dataclass(slots=True)
class Penalty(Hook):
    """Adds ``weight`` times a function of the network to the loss.

    Attributes:
        function: from the module to a number with a gradient.
        weight: of it.
        name: what a checkpoint remembers.
        until: epochs after which nothing is added any more.
    """

    function: Callable[[nn.Module], Tensor]
    weight: float = 1.0
    name: str = "penalty"
    until: float = math.inf

    @property
    def told(self) -> str:
        """Its name and weight."""
        return f"{self.name} * {self.weight}{_end(self.until)}"

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss with the penalty."""
        if _reached(self.until, step.position):
            return loss
        return loss + self.weight * self.function(step.module)


@dataclass(frozen=True, slots=True)
class Phase:
    """Epochs in which some parameters train and the others rest.

    Attributes:
        epochs: how many; a fraction, too.
        trained: patterns of the names of those that train.
        resting: patterns of the names of those that rest all the same.
    """

    epochs: float
    trained: tuple[str, ...] = ("*",)
    resting: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.epochs > 0:
            raise InputError(f"a phase lasts more than 0 epochs, got {self.epochs:g}")

    def trains(self, name: str) -> bool:
        """Whether the parameter of a name does."""
        return _matches(name, self.trained) and not _matches(name, self.resting)


@dataclass(slots=True)
class Phases(Hook):
    """Phases that follow each other, over and over; each lasts at least a step.

    What rests has no gradient: neither momentum nor decay moves it. It is taken away behind the
    backward pass, since processes that share a batch all need the same ones until then.

    Attributes:
        cycle: the phases, in order.
        until: epochs after which all parameters train.
    """

    cycle: tuple[Phase, ...]
    until: float = math.inf
    _now: Phase | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.cycle:
            raise InputError("a cycle of phases needs at least one")

    @property
    def told(self) -> str:
        """The phases."""
        return f"{self.cycle}{_end(self.until)}"

    def at(self, position: float, length: float = 0.0) -> Phase | None:
        """The phase after so many epochs, None behind the last one.

        Args:
            position: epochs, a fraction too.
            length: epochs that a step is. Phases that are shorter are stretched: of those between
                two steps, it would be chance which is met.
        """
        if _reached(self.until, position):
            return None
        stretch = max(1.0, length / min(phase.epochs for phase in self.cycle))
        rest = (position + _ROUNDING) % (stretch * sum(phase.epochs for phase in self.cycle))
        for phase in self.cycle[:-1]:
            if rest < stretch * phase.epochs:
                return phase
            rest -= stretch * phase.epochs
        return self.cycle[-1]

    def start(self, module: nn.Module, images: int, hardware: Hardware) -> None:
        """Refuses a pattern that names nothing."""
        del images, hardware
        for phase in self.cycle:
            _require_match(module, (*phase.trained, *phase.resting), "phase")

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss as it is; notes the phase."""
        self._now = self.at(step.position, step.length)
        return loss

    def gradients(self, module: nn.Module) -> None:
        """Takes away those of what rests."""
        for name, parameter in module.named_parameters():
            if self._now is not None and not self._now.trains(name):
                parameter.grad = None


@dataclass(slots=True)
class Masks(Hook):
    """Weights that are zero and stay zero, through momentum and weight decay.

    Attributes:
        masks: by parameter name, of its shape: 0 where the weight is to be zero, else 1.
    """

    masks: Mapping[str, Tensor]

    @property
    def told(self) -> str:
        """The names, and how many weights are zero."""
        zeros = sum(int((mask == 0).sum()) for mask in self.masks.values())
        return f"Masks({', '.join(sorted(self.masks))}; {zeros} zeros)"

    def start(self, module: nn.Module, images: int, hardware: Hardware) -> None:
        """Sets the weights to zero."""
        del images, hardware
        parameters = dict(module.named_parameters())
        for name, mask in self.masks.items():
            if name not in parameters or parameters[name].shape != mask.shape:
                raise InputError(f"mask of {name!r}: the network has no parameter of this shape")
        self.masks = {name: mask.to(parameters[name]) for name, mask in self.masks.items()}
        with torch.no_grad():
            for name, mask in self.masks.items():
                parameters[name].mul_(mask)

    def gradients(self, module: nn.Module) -> None:
        """Clears the gradients there: the momentum stays zero, and the decay of zero is zero."""
        for name, parameter in module.named_parameters():
            if name in self.masks and parameter.grad is not None:
                parameter.grad.mul_(self.masks[name])
