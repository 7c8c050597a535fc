"""Loop nests on memory hierarchies: what a mapping of a layer costs."""

from mlcnn.codesign.architecture import Architecture, EnergyLaw, FanOut, Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import Bound, lower_bound
from mlcnn.codesign.compiled import Fast, score_fast
from mlcnn.codesign.constraints import Constraints, Rule, binding_rules, excluded
from mlcnn.codesign.conventions import (
    CONVENTIONS,
    EXACT,
    EXACT_BOX,
    TIMELOOP_2023,
    TIMELOOP_2024,
    Convention,
    convention,
)
from mlcnn.codesign.counts import Counts, count, tile_words
from mlcnn.codesign.enumeration import Best, Objective, Weighted, best_of_all, every_mapping
from mlcnn.codesign.files import architecture_names, load_architecture
from mlcnn.codesign.mapper import Mapped, find_mapping
from mlcnn.codesign.mapping import LevelLoops, Mapping, check_factors
from mlcnn.codesign.scorer import Score, fits, score
from mlcnn.codesign.timeloop import load_timeloop
from mlcnn.codesign.walker import walk

__all__ = [
    "CONVENTIONS",
    "EXACT",
    "EXACT_BOX",
    "TIMELOOP_2023",
    "TIMELOOP_2024",
    "Architecture",
    "Batch",
    "Best",
    "Bound",
    "Constraints",
    "Convention",
    "Counts",
    "EnergyLaw",
    "FanOut",
    "Fast",
    "Level",
    "LevelLoops",
    "Mapped",
    "Mapping",
    "Objective",
    "Operand",
    "Rule",
    "Score",
    "Weighted",
    "architecture_names",
    "best_of_all",
    "binding_rules",
    "check_factors",
    "convention",
    "count",
    "every_mapping",
    "excluded",
    "find_mapping",
    "fits",
    "load_architecture",
    "load_timeloop",
    "lower_bound",
    "score",
    "score_fast",
    "tile_words",
    "walk",
]
