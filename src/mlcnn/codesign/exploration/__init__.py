"""Machines searched together with the mappings of a network on them."""

from mlcnn.codesign.exploration.evaluation import Evaluation, evaluate_network
from mlcnn.codesign.exploration.template import (
    Design,
    Parameter,
    Space,
    Template,
    load_template,
    template_names,
)

__all__ = [
    "Design",
    "Evaluation",
    "Parameter",
    "Space",
    "Template",
    "evaluate_network",
    "load_template",
    "template_names",
]
