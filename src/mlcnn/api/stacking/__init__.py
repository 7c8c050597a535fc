"""Methods stacked: one after the other on one network, with the original as teacher of all."""

from mlcnn.api.stacking.kinds import KINDS
from mlcnn.api.stacking.lab import Lab
from mlcnn.api.stacking.stack import Stack, Step, run

__all__ = ["KINDS", "Lab", "Stack", "Step", "run"]
