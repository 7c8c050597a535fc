"""Sizes and mappings searched together by gradients, where both are no whole numbers yet."""

from mlcnn.codesign.exploration.relaxed.relaxing import DEVICES, Relaxing, check_device

__all__ = ["DEVICES", "Relaxing", "check_device"]
