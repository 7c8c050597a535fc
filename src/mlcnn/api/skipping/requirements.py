"""What ``skip`` requires of a network and of images, checked before the work begins."""

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir

from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.loading import by_x
from mlcnn.api.training import require_static
from mlcnn.errors import InputError
from mlcnn.passes.exit_heads import exit_points
from mlcnn.training import TooFewImagesError

__all__ = ["needed", "require_network", "told_how_many"]

_SPATIAL = frozenset({"exit", "focus"})


def needed(max_drop: float) -> int:
    """Images that choose, from which on a budget can be told apart from chance at 95 %.

    A drop of b needs at least b of the images to differ; three times that is usual.

    Args:
        max_drop: percentage points.
    """
    budget = max(max_drop, 0.1) / 100
    return int(np.ceil(1.96**2 * 3 * budget / budget**2))


@contextmanager
def told_how_many(max_drop: float) -> Generator[None]:
    """Say of data that are too few how many images a budget takes.

    Args:
        max_drop: percentage points.

    Raises:
        InputError: as what is done here.
    """
    try:
        yield
    except TooFewImagesError as error:
        raise InputError(
            f"{error}; a budget of {max_drop:g} points takes about {needed(max_drop):,} to choose "
            "on, at 95 %"
        ) from None


def require_network(model: ir.Model, name: str, method: str) -> None:
    """Refuse a network that nothing can be left out of.

    Args:
        model: the network.
        name: what messages call it.
        method: of ``SkipOptions``.

    Raises:
        InputError: it is dynamic already, or has no scores by class, a fixed batch, or no layers
            with height and width.
    """
    require_static(model)
    shape = model.graph.outputs[0].shape
    if shape is None or shape.rank() != 2:
        raise InputError(
            f"{name}: its first output is {'unknown' if shape is None else by_x(shape.dims)}, and "
            "accuracy is judged on scores (images, classes); of another network, as one that "
            "detects, positions can be left out by a mask of your own: "
            "mlcnn.passes.focus.Focus(at=VALUE, source='input') in Python"
        )
    fixed = fixed_batch(model)
    if fixed is not None and fixed > 1:
        raise InputError(
            f"{name}: it is fixed to batches of {fixed} images, and each image is to go its own "
            "way; export it with a dynamic batch, or for one image"
        )
    if _SPATIAL.intersection(method.split("+")) and not exit_points(model):
        raise InputError(
            f"{name}: --method {method} needs layers with height and width, behind which one "
            "value is all that is known of an image; the network has none"
        )
