"""A network trained under the masks that it will run with, the original as its teacher."""

from dataclasses import replace

import onnx_ir as ir

from mlcnn import graph, nn, training
from mlcnn.api.optimizing import rewrite
from mlcnn.api.skipping.together import SKIP_RECIPE, TEACHING, Together
from mlcnn.api.skipping.work import Work
from mlcnn.api.training import EpochTeller
from mlcnn.passes.focus import Focus
from mlcnn.training import Teacher
from mlcnn.training.hooks import Hook

__all__ = ["MASKING_RECIPE", "trained_under"]

MASKING_RECIPE = replace(SKIP_RECIPE, learning_rate=0.006)
"""What holds where nothing else is asked for: at a higher rate a ResNet-20 loses what it knows."""


class _Under(Hook):
    """Does nothing: a checkpoint remembers which masks the network was trained under."""

    def __init__(self, focus: Focus) -> None:
        self._told = str(replace(focus, outside={}))

    @property
    def told(self) -> str:
        """The masks."""
        return self._told


def trained_under(work: Work, together: Together, focus: Focus) -> ir.Model:
    """The network without its masks, batch norms folded, trained with them.

    Args:
        work: the images, and who is told how it goes.
        together: the network, batch norms whole, and how to train.
        focus: the masks.

    Raises:
        InputError: training diverges, or a checkpoint is of other masks.
    """
    data = work.data
    options, recipe = together.options, together.options.recipe
    module = nn.to_module(focus.trainable(together.model))
    options.hardware.place(module)
    teacher = Teacher(nn.to_module(together.model), TEACHING.weight, TEACHING.temperature)
    training.train(
        module,
        (data if options.limit is None else data.first(options.limit)).training,
        recipe,
        normal=work.normal,
        validation=data.validation,
        seed=options.seed,
        hooks=(teacher, _Under(focus)),
        hardware=options.hardware,
        checkpoint=None if together.folder is None else together.folder / "masked.npz",
        every_s=options.every_s,
        progress=EpochTeller(work.say, recipe.epochs),
        tell=lambda done, total: work.tell("train under masks", done, total),
    )
    done = graph.without_dropout(nn.write_weights(module.cpu(), together.model))
    return rewrite(done, "fold-batch-norm", progress=work.tell).model
