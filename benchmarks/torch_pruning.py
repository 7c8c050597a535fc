"""Torch-Pruning's channels beside ``mlcnn compress --method channels``, on one trained ResNet-20.

Its recipe for CIFAR-10 [Fang 2023]: channels of the least group norm go in 400 small steps until
half of the multiplications are left, and what is left is trained. Images, epochs, batch size,
learning rate, teacher, seed and how the speed is measured are those of ``benchmarks.compressing``:

    python -m benchmarks.torch_pruning --weights resnet20.npz --cifar10 FOLDER

It takes the zeros that option A's shortcut pads with for an operator that leaves channels where
they are: channel i of one stage goes with channel i of the next, which is another, and of the 64
channels in front of the dense layer it sees 16, so that this layer does not fit any more. So what
reaches such a shortcut is named in ``ignored_layers``, its documented way; channels inside of
blocks go.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import torch
import torch_pruning
from torch import nn

import mlcnn.nn
from benchmarks.compressing import speedups
from mlcnn import api, frontier, training, zoo
from mlcnn.graph import from_module
from mlcnn.training.intervals import Accuracy, Right, paired, points

__all__ = ["main", "multiplications", "outer_layers", "prune"]

_NAME = "resnet20"
_STEPS = 400


def outer_layers(network: nn.Module) -> list[nn.Module]:
    """What the sums of residual blocks and the logits are made by."""
    names = ("conv1", "linear")
    found = [network.get_submodule(name) for name in names]
    return found + [part for name, part in network.named_modules() if name.endswith(".conv2")]


def prune(network: nn.Module, ignored: list[nn.Module], *, multiple: int, together: bool) -> None:
    """Take out channels, in place, until at most half of the multiplications are left.

    Args:
        network: that is trained; it takes 3x32x32.
        ignored: layers whose outputs all stay.
        multiple: of the channels that stay.
        together: rank the channels of all layers at once; else as many go from each.
    """
    images = torch.zeros(1, 3, 32, 32)
    pruner = torch_pruning.pruner.MagnitudePruner(
        network,
        images,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        global_pruning=together,
        pruning_ratio=1.0,
        iterative_steps=_STEPS,
        ignored_layers=ignored,
        round_to=multiple,
    )
    before, _ = torch_pruning.utils.count_ops_and_params(network, images)
    while pruner.current_step < _STEPS:
        pruner.step()
        after, _ = torch_pruning.utils.count_ops_and_params(network, images)
        if after <= before / 2:
            return


def multiplications(model: ir.Model) -> float:
    """Of a network, for one image, by our counting."""
    return sum(size.dense for size in frontier.layer_sizes(model))


def exported(network: nn.Module) -> ir.Model:
    """The network as a model, for one image."""
    return from_module(network.eval(), (torch.zeros(1, 3, 32, 32),))


def trained(
    network: nn.Module, original: ir.Model, data: training.Data, checkpoint: Path
) -> tuple[Accuracy, Right, Right]:
    """Train what is left; accuracy on the test images, and which are right before and after."""
    normal, _ = training.normal_for(data.training, zoo.describe(_NAME))
    hardware = training.Hardware(precision=training.Precision.BF16)
    teaching = api.Teaching(temperature=4.0)
    teacher = training.Teacher(mlcnn.nn.to_module(original), teaching.weight, teaching.temperature)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    recipe = replace(api.COMPRESS_RECIPE, epochs=1)
    training.train(
        network, data.training, recipe, normal=normal, validation=data.validation,
        hooks=(teacher,), hardware=hardware, checkpoint=checkpoint,
    )  # fmt: skip
    before, after = (
        training.right_images(module, data.test, normal, training.Hardware())
        for module in (mlcnn.nn.to_module(original), network)
    )
    accuracy = Accuracy("Torch-Pruning", data.test.name, len(after), float(after.mean()))
    return accuracy, before, after


def main() -> None:
    """Prune, train unless it was, and print sizes, accuracy and speed-ups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/torch-pruning"))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--round-to", type=int, default=8)
    parser.add_argument("--each-alike", action="store_true", help="as many channels of each layer")
    parser.add_argument("--untrained", action="store_true", help="sizes and speeds alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = zoo.build(_NAME)
    zoo.load_weights(network, arguments.weights)
    original = exported(network)
    prune(
        network, outer_layers(network), multiple=arguments.round_to,
        together=not arguments.each_alike,
    )  # fmt: skip
    if not arguments.untrained:
        file = f"{'alike' if arguments.each_alike else 'global'}-{arguments.round_to}.npz"
        data = training.open_data(arguments.cifar10)
        accuracy, before, after = trained(network, original, data, arguments.folder / file)
        low, high = accuracy.interval
        print(f"{100 * accuracy.top1:.2f} % ({100 * low:.2f} to {100 * high:.2f}), ", end="")
        print(f"{points(paired(before, after))} to the original")
    smaller = exported(network)
    parameters = [
        sum(size.stored for size in frontier.layer_sizes(model)) for model in (original, smaller)
    ]
    print(f"{parameters[1] / parameters[0]:.1%} of the parameters, ", end="")
    print(f"{multiplications(smaller) / multiplications(original):.1%} of the multiplications")
    faster = speedups(original, smaller, arguments.seconds)
    print(", ".join(f"{name} {value:.2f}x" for name, value in faster.items()))


if __name__ == "__main__":
    main()
