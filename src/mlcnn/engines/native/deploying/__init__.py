"""What the engine ``native`` runs, as a C library that needs neither Python nor mlcnn."""

from mlcnn.engines.native.deploying.building import Built, Loaded, build, build_flags
from mlcnn.engines.native.deploying.plan import Buffer, Plan, plan
from mlcnn.engines.native.deploying.writing import check_name, name_in_c, write

__all__ = [
    "Buffer",
    "Built",
    "Loaded",
    "Plan",
    "build",
    "build_flags",
    "check_name",
    "name_in_c",
    "plan",
    "write",
]
