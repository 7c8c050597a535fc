"""What can make a network smaller while it trains: one declaration each, one table of all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir

from mlcnn.errors import InputError, did_you_mean
from mlcnn.frontier.sharing import AUTO, priced, sharing
from mlcnn.frontier.stacks import Aspect
from mlcnn.passes import ShareKernels, pipeline
from mlcnn.training.alternating import alternating
from mlcnn.training.channel_groups import channel_groups
from mlcnn.training.channel_pruning import channel_cut
from mlcnn.training.group_penalty import group_penalty
from mlcnn.training.hooks import Hook
from mlcnn.training.pruning import Cut, Pruning, Quantity, Schedule, WeightCut, kernels_of

__all__ = [
    "ALL",
    "COMPRESSIONS",
    "BasisTraining",
    "Compression",
    "Settings",
    "Start",
    "compressions",
]

ALL = "all"
"""Every method, each by the same recipe."""


class BasisTraining(StrEnum):
    """How the kernels that a layer shares train, and the coefficients that go with them."""

    JOINT = "joint"
    ALTERNATE = "alternate"


@dataclass(frozen=True, slots=True)
class Settings:
    """What methods leave open.

    Attributes:
        quantity: what a share is of.
        ends: whether single weights of the first and of the last layer go too.
        importance: what a channel is judged by.
        multiple: of the channels that stay.
        evenly: whether the same share of every block's inner channels goes.
        basis: how many kernels a layer shares, as ``share-kernels`` takes it, or ``auto``.
        group_penalty: weight of the penalty that shrinks whole channels; 0 for none.
        basis_training: how these train.
    """

    quantity: Quantity = "parameters"
    ends: bool = False
    importance: str = "l2"
    multiple: int = 8
    evenly: bool = False
    basis: str = "auto"
    group_penalty: float = 0.0
    basis_training: BasisTraining = BasisTraining.JOINT

    def hooks(self, model: ir.Model) -> tuple[Hook, ...]:
        """What takes part in the training of a network besides the cut, whatever the method.

        Raises:
            InputError: channels are to be shrunk, and none can go.
        """
        if not self.group_penalty:
            return ()
        groups = channel_groups(model, kernels_of(model, self.quantity))
        return (group_penalty(groups, self.group_penalty),)


@dataclass(frozen=True, slots=True)
class Start:
    """What a network is trained from.

    Attributes:
        model: the network, of which nothing is gone yet.
        cut: what goes while it trains.
        told: what was decided for the share, in words; empty for nothing.
    """

    model: ir.Model
    cut: Cut
    told: str = ""


Hooks = tuple[Pruning, *tuple[Hook, ...]]


def _gradually(cut: Cut, schedule: Schedule, settings: Settings) -> Hooks:
    del settings
    return (Pruning(cut, schedule),)


def _nothing_to_tell(model: ir.Model, settings: Settings) -> tuple[str, ...]:
    del model, settings
    return ()


def _removed(settings: Settings) -> str:
    del settings
    return "remove-channels"


def _removed_in_blocks(settings: Settings) -> str:
    """For what goes weight by weight.

    The few channels that are zero without a penalty leave others in odd numbers, which engines are
    slower at (ResNet-20 at 17 %: 0.86 of the speed in ONNX Runtime).
    """
    return f"remove-channels{{multiple={settings.multiple}}}" if settings.group_penalty else ""


@dataclass(frozen=True, slots=True)
class Compression:
    """One way to make a network smaller.

    Attributes:
        name: how the user names it.
        summary: what it does, in a line.
        start: what is trained down to a share; refuses a network with nothing to cut.
        hooks: what makes the cut while it trains, and what else takes part.
        check: refuses settings that do not fit the network; what the user should know of it.
        after: exact passes that take out of the trained network what is zero.
        aspect: what of a network it changes, for what it goes together with.
    """

    name: str
    summary: str
    start: Callable[[ir.Model, Settings, float], Start]
    hooks: Callable[[Cut, Schedule, Settings], Hooks] = _gradually
    check: Callable[[ir.Model, Settings], tuple[str, ...]] = _nothing_to_tell
    after: Callable[[Settings], str] = _removed_in_blocks
    aspect: Aspect = Aspect.WEIGHTS


def _weights(model: ir.Model, settings: Settings, share: float) -> Start:
    del share
    return Start(model, WeightCut(kernels_of(model, settings.quantity, ends=settings.ends)))


def _shared(model: ir.Model, settings: Settings, share: float) -> Start:
    found = None
    if settings.basis == AUTO:
        found = sharing(model, settings.quantity, share, ends=settings.ends)
    basis = settings.basis if found is None else found.basis
    shared = _with_basis(model, basis) if basis else model
    kernels = kernels_of(shared, settings.quantity, ends=settings.ends)
    told = ""
    if found is not None:
        kernels = priced(kernels, shared, settings.quantity, found.price)
        told = f"--basis {basis}" if basis else "no layer gains"
    in_turn = settings.basis_training is BasisTraining.ALTERNATE
    return Start(shared, WeightCut(kernels, by_deviation=in_turn), told)


def _with_basis(model: ir.Model, basis: str) -> ir.Model:
    # Of all layers: whether a form of it is faster is known once there are zeros.
    passes = pipeline.parse(f"share-kernels{{basis={basis},layers=all}}")
    return pipeline.run(model, passes).model


def _basis_hooks(cut: Cut, schedule: Schedule, settings: Settings) -> Hooks:
    if settings.basis_training is BasisTraining.ALTERNATE:
        return alternating(cut, schedule)
    return _gradually(cut, schedule, settings)


def _left_dense(model: ir.Model, settings: Settings) -> tuple[str, ...]:
    basis = "1" if settings.basis == AUTO else settings.basis
    left = ShareKernels(basis).left(model)
    return tuple(f"shared-kernels: {name} stays as it is: {why}" for name, why in left.items())


def _channels(model: ir.Model, settings: Settings, share: float) -> Start:
    cut = channel_cut(
        model, kernels_of(model, settings.quantity), settings.importance, settings.multiple,
        evenly=settings.evenly, target=share,
    )  # fmt: skip
    return Start(model, cut)


COMPRESSIONS: Mapping[str, Compression] = {
    item.name: item
    for item in (
        Compression(
            "weights",
            "single weights become zero, the smallest first",
            _weights,
        ),
        Compression(
            "channels",
            "whole channels go, with all that makes or reads them",
            _channels,
            after=_removed,
            aspect=Aspect.CHANNELS,
        ),
        Compression(
            "shared-kernels",
            "kernels become sums of a few that a layer shares, and coefficients zero",
            _shared,
            hooks=_basis_hooks,
            check=_left_dense,
        ),
    )
}
"""All of them, by name."""


def compressions(name: str) -> tuple[Compression, ...]:
    """The method of a name; all of them for ``all``.

    Raises:
        InputError: there is none.
    """
    if name == ALL:
        return tuple(COMPRESSIONS.values())
    if name not in COMPRESSIONS:
        hint = did_you_mean(name, [*COMPRESSIONS, ALL])
        raise InputError(f"--method {name}: {', '.join([*COMPRESSIONS, ALL])} are there{hint}")
    return (COMPRESSIONS[name],)
