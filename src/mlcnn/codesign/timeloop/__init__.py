"""Timeloop's files: architectures, problems, mappings, constraints, tables of energy and area."""

from mlcnn.codesign.timeloop.loading import (
    Timeloop,
    is_timeloop,
    load_timeloop,
    read_constraints_file,
    read_mapping_file,
    read_problem_file,
    read_timeloop,
)
from mlcnn.codesign.timeloop.machine import Machine, plain_machine
from mlcnn.codesign.timeloop.problem import DEFAULT_SPACES, Problem
from mlcnn.codesign.timeloop.writing import mapping_text, statistics_text

__all__ = [
    "DEFAULT_SPACES",
    "Machine",
    "Problem",
    "Timeloop",
    "is_timeloop",
    "load_timeloop",
    "mapping_text",
    "plain_machine",
    "read_constraints_file",
    "read_mapping_file",
    "read_problem_file",
    "read_timeloop",
    "statistics_text",
]
