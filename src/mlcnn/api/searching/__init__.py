"""The cheapest way to run a network: all methods, stacked, under an accuracy budget."""

from mlcnn.api.searching.comparing import ComparedRuns, compare_runs
from mlcnn.api.searching.found import Cheapest
from mlcnn.api.searching.options import CheapestOptions
from mlcnn.api.searching.verb import cheapest

__all__ = ["Cheapest", "CheapestOptions", "ComparedRuns", "cheapest", "compare_runs"]
