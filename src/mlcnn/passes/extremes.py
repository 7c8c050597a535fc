"""Dynamic networks whose images all cost the most, and the least, for measuring these."""

from collections.abc import Mapping

import onnx_ir as ir

from mlcnn.passes.exit_extremes import exit_extremes
from mlcnn.passes.focus_extremes import all_kept

__all__ = ["extremes"]

_WORST, _BEST = "worst case", "best case"


def extremes(model: ir.Model) -> Mapping[str, ir.Model]:
    """The network with thresholds by which everything runs, and by which as little as can does.

    Args:
        model: the network.

    Returns:
        By what it is; no best case where that depends on a mask, and nothing where every image
        costs the same.
    """
    kept = all_kept(model)
    found = exit_extremes(model if kept is None else kept)
    if found is not None:
        return dict(zip((_WORST, _BEST), found, strict=True))
    return {} if kept is None else {_WORST: kept}
