"""Rewrites of a network: one file each, a frozen dataclass whose fields are its options."""

from mlcnn.passes.base import Change, Foreseeing, Gradual, Pass, PassResult, Sized, Skipped
from mlcnn.passes.block_circulant import BlockCirculant
from mlcnn.passes.choice import KEEP, STRUCTURE_KEY, Choice, Chooser, CostModel
from mlcnn.passes.choose import Choose
from mlcnn.passes.fold_batch_norm import FoldBatchNorm
from mlcnn.passes.fold_constants import FoldConstants
from mlcnn.passes.fuse import Fuse
from mlcnn.passes.inline import Inline
from mlcnn.passes.lowering import AUTO, Lowering, with_activation
from mlcnn.passes.max_to_average import MaxToAverage, WindowMode
from mlcnn.passes.move_pool import DistributePool, Reorder
from mlcnn.passes.remove_channels import RemoveChannels
from mlcnn.passes.reorder_max import ReorderMax
from mlcnn.passes.restoring import restore
from mlcnn.passes.share_kernels import ShareKernels
from mlcnn.passes.structuring import Layers, Structuring

__all__ = [
    "AUTO",
    "KEEP",
    "STRUCTURE_KEY",
    "BlockCirculant",
    "Change",
    "Choice",
    "Choose",
    "Chooser",
    "CostModel",
    "DistributePool",
    "FoldBatchNorm",
    "FoldConstants",
    "Foreseeing",
    "Fuse",
    "Gradual",
    "Inline",
    "Layers",
    "Lowering",
    "MaxToAverage",
    "Pass",
    "PassResult",
    "RemoveChannels",
    "Reorder",
    "ReorderMax",
    "ShareKernels",
    "Sized",
    "Skipped",
    "Structuring",
    "WindowMode",
    "restore",
    "with_activation",
]
