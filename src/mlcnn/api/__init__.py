"""The verbs of the command line as functions, over all kinds of networks."""

from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.affording import within_budget
from mlcnn.api.benchmarking import MeasureOptions, bench, chooser_for
from mlcnn.api.checked import Checked, Countable, Finding, Limits
from mlcnn.api.compiling import Compiled, compile  # noqa: A004 - as torch has it
from mlcnn.api.compressed import Compressed
from mlcnn.api.compressing import COMPRESS_RECIPE, CompressOptions, compress
from mlcnn.api.counting import count
from mlcnn.api.deploying import Deployed, DeployOptions, deploy
from mlcnn.api.differing import NetworkDiff, diff, diff_models
from mlcnn.api.dynamic import Dynamic
from mlcnn.api.evaluation import EvaluateOptions, energy_per_image, evaluate
from mlcnn.api.exploring import ExploreOptions, explore, write_designs
from mlcnn.api.finetuning import FINETUNE_RECIPE, Finetuned, finetune
from mlcnn.api.image_times import latency_per_image
from mlcnn.api.listing import Described, describe, listed
from mlcnn.api.loading import (
    ExampleInput,
    Source,
    images_taken,
    is_zoo_name,
    load,
    model_name,
)
from mlcnn.api.mapping import (
    MapOptions,
    check_mapping,
    explain_count,
    map_layer,
    map_network,
    nest_of,
    save_for_timeloop,
)
from mlcnn.api.nests import NetworkOptions, split_layer
from mlcnn.api.netron import require_netron, show_in_netron
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import (
    Progress,
    default_passes,
    optimize,
    potential,
    rewrite,
    tuned_weights,
)
from mlcnn.api.options import RewriteOptions
from mlcnn.api.own_data import Comparison, compare, read_inputs
from mlcnn.api.per_image import PerImage, per_image
from mlcnn.api.quantized_training import TuneOptions
from mlcnn.api.quantizing import Quantized, QuantizeOptions, quantize
from mlcnn.api.recovery import Teaching
from mlcnn.api.regressing import check
from mlcnn.api.rtl import RtlOptions, RtlSimulation, simulate_rtl
from mlcnn.api.running import RunResult, run
from mlcnn.api.searching import (
    Cheapest,
    CheapestOptions,
    ComparedRuns,
    cheapest,
    compare_runs,
)
from mlcnn.api.sensitivity import Swap
from mlcnn.api.skipping import SkipOptions, skip, skip_recipe
from mlcnn.api.stacking import STACK_RECIPE, Stacked, stack
from mlcnn.api.studying import StudyOptions, draw_reproduced, study
from mlcnn.api.summarising import Origin, nothing_to_gain, summarise
from mlcnn.api.training import Trained, TrainOptions, train
from mlcnn.api.writing import check_output
from mlcnn.report import (
    Page,
    coded_layers,
    columns_table,
    difference_tables,
    evaluation_tables,
    explained_text,
    exploration_table,
    mapping_tables,
    network_mapping_tables,
    network_tables,
    printable,
    terminal,
    uncounted_sentence,
    warning,
    write_front,
)
from mlcnn.reproduce import reproduce
from mlcnn.training.quantisation import InputRange, Means, Setting, WeightRange, check_bits

__all__ = [
    "COMPRESS_RECIPE",
    "FINETUNE_RECIPE",
    "STACK_RECIPE",
    "Cheapest",
    "CheapestOptions",
    "Checked",
    "ComparedRuns",
    "Comparison",
    "Compiled",
    "CompressOptions",
    "Compressed",
    "Countable",
    "DeployOptions",
    "Deployed",
    "Described",
    "Dynamic",
    "EvaluateOptions",
    "ExampleInput",
    "ExploreOptions",
    "Finding",
    "Finetuned",
    "ImageOptions",
    "InputRange",
    "Limits",
    "MapOptions",
    "Means",
    "MeasureOptions",
    "NetworkDiff",
    "NetworkOptions",
    "Optimized",
    "Origin",
    "Page",
    "PerImage",
    "Progress",
    "QuantizeOptions",
    "Quantized",
    "RewriteOptions",
    "RtlOptions",
    "RtlSimulation",
    "RunResult",
    "Setting",
    "SkipOptions",
    "Source",
    "Stacked",
    "StudyOptions",
    "Swap",
    "Teaching",
    "TrainOptions",
    "Trained",
    "TuneOptions",
    "WeightRange",
    "bench",
    "cheapest",
    "check",
    "check_bits",
    "check_mapping",
    "check_output",
    "chooser_for",
    "coded_layers",
    "columns_table",
    "compare",
    "compare_runs",
    "compile",
    "compress",
    "count",
    "default_passes",
    "deploy",
    "describe",
    "diff",
    "diff_models",
    "difference_tables",
    "draw_reproduced",
    "energy_per_image",
    "evaluate",
    "evaluation_tables",
    "explain_count",
    "explained_text",
    "exploration_table",
    "explore",
    "finetune",
    "images_taken",
    "is_zoo_name",
    "latency_per_image",
    "listed",
    "load",
    "map_layer",
    "map_network",
    "mapping_tables",
    "model_name",
    "nest_of",
    "network_mapping_tables",
    "network_tables",
    "nothing_to_gain",
    "optimize",
    "per_image",
    "potential",
    "printable",
    "quantize",
    "read_inputs",
    "reproduce",
    "require_netron",
    "rewrite",
    "run",
    "save_for_timeloop",
    "show_in_netron",
    "simulate_rtl",
    "skip",
    "skip_recipe",
    "split_layer",
    "stack",
    "study",
    "summarise",
    "terminal",
    "train",
    "tuned_weights",
    "uncounted_sentence",
    "warning",
    "within_budget",
    "write_designs",
    "write_front",
]
