"""Count a network's operations before and after."""

from collections.abc import Sequence
from os import PathLike

from mlcnn.api.loading import Source, load
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import default_passes, require_no_rewrite, rewrite
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.api.two_networks import as_they_are
from mlcnn.counting import CountReport
from mlcnn.counting import count as count_networks

__all__ = ["count"]


def count(
    source: Source,
    options: RewriteOptions = NO_REWRITE,
    *,
    against: Source | None = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    batch: int = 1,
) -> CountReport:
    """Multiplications and additions of every layer, before and after the passes.

    Args:
        source: see ``load``. What ``optimize`` returned is counted as it was rewritten.
        options: the rewrite.
        against: another network, to compare with layer by layer, joined by name; both as they
            are, without a rewrite. By default what ``source`` was before the passes.
        input_shape: see ``load``; needed where height or width are dynamic.
        weights: see ``load``.
        batch: images.

    Raises:
        InputError: the source or an option cannot be used, or two networks share no layer name.
        UnsupportedError: a layer's sizes are not known.

    Example:
        >>> import mlcnn
        >>> report = mlcnn.count("lenet5")
        >>> [(row.name, row.multiplications.original, row.multiplications.fused)
        ...  for row in report.layers if row.fused]
        [('conv1', 352800, 88200), ('conv2', 240000, 60000)]
    """
    if against is not None:
        after, before = as_they_are(
            source, against, options, input_shape=input_shape, weights=weights
        )
        shape = None if input_shape is None else tuple(input_shape)
        return count_networks(after, before, batch=batch, input_shape=shape, executed=True)
    if isinstance(source, Optimized):
        require_no_rewrite(options, weights=weights)
        return source.counts(batch=batch, input_shape=input_shape)
    model = load(source, input_shape=input_shape, weights=weights)
    return rewrite(model, default_passes(source), options, check=False).counts(batch=batch)
