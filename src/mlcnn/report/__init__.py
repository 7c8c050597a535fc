"""The report of a run: one self-contained HTML page, and a summary for the terminal."""

from mlcnn.report.cheapest import cheapest_page
from mlcnn.report.coded_layers import coded_layers
from mlcnn.report.comparing import comparison_page
from mlcnn.report.compression import write_compression
from mlcnn.report.drawing import Differences, Neighbourhood, neighbourhoods
from mlcnn.report.drawing import compare as compare_graphs
from mlcnn.report.evaluation import evaluation_tables
from mlcnn.report.exploring import exploration_table, write_front
from mlcnn.report.headline import facts, sentence
from mlcnn.report.mapping import explained_text, mapping_tables, network_mapping_tables
from mlcnn.report.page import Page, render, write
from mlcnn.report.picture import find_browser, picture
from mlcnn.report.recorded import recorded_json
from mlcnn.report.summary import (
    ORIGINAL,
    RESULT,
    Exactness,
    Latency,
    Potential,
    RunSummary,
    Unavailable,
    ordered,
)
from mlcnn.report.table import columns_table, warning
from mlcnn.report.terminal import terminal
from mlcnn.report.two_graphs import (
    NodeRow,
    difference_page,
    difference_sentence,
    difference_tables,
    node_rows,
)
from mlcnn.report.two_networks import network_tables
from mlcnn.report.wording import printable, uncounted_sentence

__all__ = [
    "ORIGINAL",
    "RESULT",
    "Differences",
    "Exactness",
    "Latency",
    "Neighbourhood",
    "NodeRow",
    "Page",
    "Potential",
    "RunSummary",
    "Unavailable",
    "cheapest_page",
    "coded_layers",
    "columns_table",
    "compare_graphs",
    "comparison_page",
    "difference_page",
    "difference_sentence",
    "difference_tables",
    "evaluation_tables",
    "explained_text",
    "exploration_table",
    "facts",
    "find_browser",
    "mapping_tables",
    "neighbourhoods",
    "network_mapping_tables",
    "network_tables",
    "node_rows",
    "ordered",
    "picture",
    "printable",
    "recorded_json",
    "render",
    "sentence",
    "terminal",
    "uncounted_sentence",
    "warning",
    "write",
    "write_compression",
    "write_front",
]
