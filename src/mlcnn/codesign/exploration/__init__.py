"""Machines searched together with the mappings of a network on them."""

from mlcnn.codesign.exploration.archive import Archive, beaten, front_of
from mlcnn.codesign.exploration.array_layers import ArrayLayers
from mlcnn.codesign.exploration.arrays import ArrayTemplate
from mlcnn.codesign.exploration.candidates import Candidates
from mlcnn.codesign.exploration.evaluation import Evaluation, Unfinished, evaluate_network
from mlcnn.codesign.exploration.explored import (
    Ending,
    Explored,
    FrontDesign,
    Start,
    design_text,
)
from mlcnn.codesign.exploration.exploring import Question, Standing, StartDesign, Work
from mlcnn.codesign.exploration.loading import load_template, template_names
from mlcnn.codesign.exploration.loop_nests import LoopNestTemplate
from mlcnn.codesign.exploration.nest_layers import LoopNests
from mlcnn.codesign.exploration.parameter import Parameter, value_text
from mlcnn.codesign.exploration.pricing import Network
from mlcnn.codesign.exploration.quantities import (
    Limit,
    Quantity,
    only_latency,
    parse_limit,
    parse_objectives,
    within,
)
from mlcnn.codesign.exploration.relaxed import DEVICES, Relaxing, check_device
from mlcnn.codesign.exploration.strategies import Strategy, batches
from mlcnn.codesign.exploration.template import Design, Space, Template
from mlcnn.codesign.exploration.workers import (
    Finished,
    Here,
    Job,
    OnRay,
    Processes,
    Workers,
    require_ray,
)
from mlcnn.journal import Journal

__all__ = [
    "DEVICES",
    "Archive",
    "ArrayLayers",
    "ArrayTemplate",
    "Candidates",
    "Design",
    "Ending",
    "Evaluation",
    "Explored",
    "Finished",
    "FrontDesign",
    "Here",
    "Job",
    "Journal",
    "Limit",
    "LoopNestTemplate",
    "LoopNests",
    "Network",
    "OnRay",
    "Parameter",
    "Processes",
    "Quantity",
    "Question",
    "Relaxing",
    "Space",
    "Standing",
    "Start",
    "StartDesign",
    "Strategy",
    "Template",
    "Unfinished",
    "Work",
    "Workers",
    "batches",
    "beaten",
    "check_device",
    "design_text",
    "evaluate_network",
    "front_of",
    "load_template",
    "only_latency",
    "parse_limit",
    "parse_objectives",
    "require_ray",
    "template_names",
    "value_text",
    "within",
]
