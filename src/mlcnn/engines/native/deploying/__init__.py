"""What the engine ``native`` runs, as a C library that needs neither Python nor mlcnn."""

from mlcnn.engines.native.deploying.building import Built, Loaded, build, build_flags
from mlcnn.engines.native.deploying.checked import Checked, check, drawn, handed
from mlcnn.engines.native.deploying.folder import check_folder
from mlcnn.engines.native.deploying.plan import Buffer, Plan, plan
from mlcnn.engines.native.deploying.writing import check_name, name_in_c, write

__all__ = [
    "Buffer",
    "Built",
    "Checked",
    "Loaded",
    "Plan",
    "build",
    "build_flags",
    "check",
    "check_folder",
    "check_name",
    "drawn",
    "handed",
    "name_in_c",
    "plan",
    "write",
]
