"""Two networks drawn beside each other, around each place where they differ."""

from mlcnn.report.drawing.around import Box, Neighbourhood, Side, around, neighbourhoods, whole
from mlcnn.report.drawing.differing import Differences, NodeChange, Status, compare
from mlcnn.report.drawing.nodes import Node, nodes_of
from mlcnn.report.drawing.picture import LEGEND, drawings, width_of

__all__ = [
    "LEGEND",
    "Box",
    "Differences",
    "Neighbourhood",
    "Node",
    "NodeChange",
    "Side",
    "Status",
    "around",
    "compare",
    "drawings",
    "neighbourhoods",
    "nodes_of",
    "whole",
    "width_of",
]
