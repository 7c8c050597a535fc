"""Methods stacked: one after the other on one network, with the original as teacher of all."""

from mlcnn.api.stacking.kinds import KINDS
from mlcnn.api.stacking.lab import ON_MACHINES, Lab
from mlcnn.api.stacking.stack import Stack, Step, grow, run
from mlcnn.api.stacking.stacking import STACK_RECIPE, Stacked, stack

__all__ = [
    "KINDS",
    "ON_MACHINES",
    "STACK_RECIPE",
    "Lab",
    "Stack",
    "Stacked",
    "Step",
    "grow",
    "run",
    "stack",
]
