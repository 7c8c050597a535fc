"""Heads and the network that they stand in, trained together, with the original as teacher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import graph, nn, training
from mlcnn.api.optimizing import Progress, rewrite
from mlcnn.api.recovery import Teaching
from mlcnn.api.training import EpochTeller, TrainOptions
from mlcnn.graph import constant
from mlcnn.passes.exit_heads import Head, with_heads
from mlcnn.training import Data, Normal, Recipe, Teacher
from mlcnn.training.exits import Exits, FirstOutput

__all__ = ["SKIP_RECIPE", "TEACHING", "Together"]

SKIP_RECIPE = Recipe(epochs=3, batch_size=128, learning_rate=0.02, warmup_epochs=0.05)
"""What holds where nothing else is asked for."""

TEACHING = Teaching(temperature=4.0)


@dataclass(frozen=True, slots=True)
class Together:
    """How heads and network train together.

    Attributes:
        model: the network, batch norms whole.
        options: how to train.
        folder: where the checkpoint goes, and what a repeated call goes on from; None for nowhere.
    """

    model: ir.Model
    options: TrainOptions
    folder: Path | None

    def trained(
        self,
        heads: Mapping[str, Head],
        data: Data,
        normal: Normal,
        tell: Progress,
        say: Callable[[str], None],
    ) -> tuple[ir.Model, dict[str, Head]]:
        """The network without its heads, batch norms folded, and the heads.

        Args:
            heads: what they begin with, by the layer in front of them, in order.
            data: what to train on.
            normal: what the network takes for an image.
            tell: told how the work goes on.
            say: told each epoch's result.

        Raises:
            InputError: training diverges.
        """
        headed = with_heads(self.model, [*heads.values()])
        network, recipe = nn.to_module(headed), self.options.recipe
        module, hardware = FirstOutput(network), self.options.hardware
        hardware.place(module)
        teacher = Teacher(nn.to_module(self.model), TEACHING.weight, TEACHING.temperature)
        limit = self.options.limit
        training.train(
            module,
            (data if limit is None else data.first(limit)).training,
            recipe,
            normal=normal,
            validation=data.validation,
            seed=self.options.seed,
            hooks=(teacher, Exits()),
            hardware=hardware,
            checkpoint=None if self.folder is None else self.folder / "together.npz",
            every_s=self.options.every_s,
            progress=EpochTeller(say, recipe.epochs),
            tell=lambda done, total: tell("train heads and network", done, total),
        )
        done = graph.without_dropout(nn.write_weights(network.cpu(), headed))
        found = {
            layer: Head(
                head.at, _array(done, f"exit{index}.weight"), _array(done, f"exit{index}.bias"),
                head.grid,
            )
            for index, (layer, head) in enumerate(heads.items(), 1)
        }  # fmt: skip
        inputs = [value.name or "" for value in done.graph.inputs]
        alone = graph.extract(done, inputs, [done.graph.outputs[0].name or ""])
        return rewrite(alone, "fold-batch-norm", progress=tell).model, found


def _array(model: ir.Model, name: str) -> NDArray[Any]:
    array = constant(model.graph.initializers[name])
    if array is None:
        raise ValueError(f"{name} is no constant")
    return array
