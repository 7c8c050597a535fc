"""Count a network's operations before and after."""

from collections.abc import Sequence
from os import PathLike

from mlcnn.api.loading import Source, load
from mlcnn.api.optimizing import Optimized, default_passes, require_no_rewrite, rewrite
from mlcnn.api.options import RewriteOptions
from mlcnn.counting import CountReport

__all__ = ["count"]

_NO_OPTIONS = RewriteOptions()


def count(
    source: Source,
    options: RewriteOptions = _NO_OPTIONS,
    *,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    batch: int = 1,
) -> CountReport:
    """Multiplications and additions of every layer, before and after the passes.

    Args:
        source: see ``load``. What ``optimize`` returned is counted as it was rewritten.
        options: the rewrite.
        input_shape: see ``load``; needed where height or width are dynamic.
        weights: see ``load``.
        batch: images.

    Raises:
        InputError: the source or an option cannot be used.
        UnsupportedError: a layer's sizes are not known.

    Example:
        >>> import mlcnn
        >>> report = mlcnn.count("lenet5")
        >>> [(row.name, row.multiplications.original, row.multiplications.fused)
        ...  for row in report.layers if row.fused]
        [('conv1', 352800, 88200), ('conv2', 240000, 60000)]
    """
    if isinstance(source, Optimized):
        require_no_rewrite(options, weights=weights)
        return source.counts(batch=batch, input_shape=input_shape)
    model = load(source, input_shape=input_shape, weights=weights)
    return rewrite(model, default_passes(source), options, check=False).counts(batch=batch)
