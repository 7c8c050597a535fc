"""Timeloop's files: architectures, problems, mappings, constraints and tables of energy and area."""

from mlcnn.codesign.timeloop.loading import (
    Timeloop,
    is_timeloop,
    load_timeloop,
    read_timeloop,
)

__all__ = ["Timeloop", "is_timeloop", "load_timeloop", "read_timeloop"]
