"""Engine ``native``: networks as steps of our own C kernels."""

from mlcnn.engines.native.engine import Native

__all__ = ["Native"]
