"""Tables II to VI of [MLCNN]: additions with and without reuse, 2x2 pools, one filter.

Tables II and III count one pooled output, Tables IV to VI one row of them. Every number is the
general count of ``mlcnn.counting`` of a layer with that one output or row.
"""

from collections.abc import Mapping

from mlcnn.counting import Reuse, fused
from mlcnn.reproduce.reproduction import Number, Reproduction, Tell, compared, published_rows
from mlcnn.workload import ConvLayer, Pool

__all__ = ["reproduce_additions"]

_POOL = Pool((2, 2), (2, 2))


def reproduce_additions(what: str, _: Tell) -> Reproduction:
    """Reproduce ``table-2`` to ``table-6``."""
    rows = (compared(published, _computed(published)) for published in published_rows(what))
    return Reproduction(what, tuple(rows))


def _computed(published: Mapping[str, str]) -> Number:
    kernel, stride = int(published["kernel"]), int(published["stride"])
    # As many rows as one pooled row needs, and columns where no width is given.
    extent = kernel + stride
    layer = ConvLayer(
        published["item"], N=1, K=1, C=1, H=extent, W=int(published["size"] or extent),
        R=kernel, S=kernel, strides=(stride, stride), pool=_POOL,
    )  # fmt: skip
    without = fused(layer, Reuse.NONE).additions
    reused = fused(layer, Reuse(published["reuse"])).additions
    match published["quantity"]:
        case "without":
            return without
        case "with":
            return reused
        case _:
            return 100 * (1 - reused / without)
