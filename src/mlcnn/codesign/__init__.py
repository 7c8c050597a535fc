"""Loop nests on memory hierarchies: what a mapping of a layer costs."""

from mlcnn.codesign.architecture import Architecture, AreaLaw, EnergyLaw, FanOut, Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import Bound, lower_bound
from mlcnn.codesign.breakdown import ARITHMETIC, Breakdown, Limit, Moved, break_down
from mlcnn.codesign.checked_mapping import Checked, check_mapping
from mlcnn.codesign.checking import Misfit, Move, misfits, smallest_move
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
from mlcnn.codesign.explaining import Amounts, Explained, explain
from mlcnn.codesign.files import architecture_names, load_architecture
from mlcnn.codesign.finding import Found, Search, find
from mlcnn.codesign.layer_text import parse_layer
from mlcnn.codesign.machine import LoopNestFile, LoopNestMachine
from mlcnn.codesign.mapped_network import MappedLayer, MappedNetwork, map_nests
from mlcnn.codesign.mapper import Mapped, find_mapping
from mlcnn.codesign.mapping import LevelLoops, Mapping, check_factors
from mlcnn.codesign.mapping_file import read_mapping
from mlcnn.codesign.network import LeastProduct, least_product
from mlcnn.codesign.padding import Factors, padded_nests
from mlcnn.codesign.scored_mapping import ScoredMapping, scored_mapping
from mlcnn.codesign.scorer import Score, fits, score
from mlcnn.codesign.timeloop import load_timeloop
from mlcnn.codesign.walker import walk

__all__ = [
    "ARITHMETIC",
    "CONVENTIONS",
    "EXACT",
    "EXACT_BOX",
    "TIMELOOP_2023",
    "TIMELOOP_2024",
    "Amounts",
    "Architecture",
    "AreaLaw",
    "Batch",
    "Best",
    "Bound",
    "Breakdown",
    "Checked",
    "Constraints",
    "Convention",
    "Counts",
    "EnergyLaw",
    "Explained",
    "Factors",
    "FanOut",
    "Fast",
    "Found",
    "LeastProduct",
    "Level",
    "LevelLoops",
    "Limit",
    "LoopNestFile",
    "LoopNestMachine",
    "Mapped",
    "MappedLayer",
    "MappedNetwork",
    "Mapping",
    "Misfit",
    "Move",
    "Moved",
    "Objective",
    "Operand",
    "Rule",
    "Score",
    "ScoredMapping",
    "Search",
    "Weighted",
    "architecture_names",
    "best_of_all",
    "binding_rules",
    "break_down",
    "check_factors",
    "check_mapping",
    "convention",
    "count",
    "every_mapping",
    "excluded",
    "explain",
    "find",
    "find_mapping",
    "fits",
    "least_product",
    "load_architecture",
    "load_timeloop",
    "lower_bound",
    "map_nests",
    "misfits",
    "padded_nests",
    "parse_layer",
    "read_mapping",
    "score",
    "score_fast",
    "scored_mapping",
    "smallest_move",
    "tile_words",
    "walk",
]
