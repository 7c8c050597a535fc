"""Tasks done by processes of this machine or of a cluster: something given once, then jobs."""

from mlcnn.tasks.on_ray import OnRay, RayWords, require_ray
from mlcnn.tasks.processes import Processes

__all__ = ["OnRay", "Processes", "RayWords", "require_ray"]
