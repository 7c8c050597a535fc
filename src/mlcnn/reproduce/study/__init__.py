"""The paper's study of accuracy: networks, pools and orders, from recorded runs.

``study.toml`` says what belongs to it, ``mlcnn study`` trains it, one JSON file a run, and those
in ``recorded/`` are the package's own. ``published/figure-3.csv`` and its like hold what the paper
says of it; what of that holds in the recorded runs is computed, never written down.
"""

from mlcnn.reproduce.study.claims import Claim, Judged, Verdict, judge, judged_claims
from mlcnn.reproduce.study.figures import FIGURES, Average, averages, reproduce_study
from mlcnn.reproduce.study.plan import Form, Precise, Studied, Study, load_study
from mlcnn.reproduce.study.records import (
    Cell,
    Run,
    read_run,
    read_runs,
    recorded_runs,
    write_run,
)

__all__ = [
    "FIGURES",
    "Average",
    "Cell",
    "Claim",
    "Form",
    "Judged",
    "Precise",
    "Run",
    "Studied",
    "Study",
    "Verdict",
    "averages",
    "judge",
    "judged_claims",
    "load_study",
    "read_run",
    "read_runs",
    "recorded_runs",
    "reproduce_study",
    "write_run",
]
