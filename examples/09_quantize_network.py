"""Quantise a fused network to INT8, and see what it costs in accuracy, bytes and codes."""

import numpy as np
import onnx

import mlcnn
from mlcnn.training import load_sample
from mlcnn.training.quantisation import Means, Setting

# Stands for your data: a folder of images by class, CIFAR or MNIST files, or an .npz like this.
# The sample's images are test images, so the accuracy here is only there to be seen.
sample = load_sample("cifar10")
np.savez("images.npz", images=sample.images, labels=sample.labels)

for means in Means:
    options = mlcnn.QuantizeOptions(
        Setting(means=means),
        fuse=True,  # the passes first: average pools, then fused layers, then codes
        engines=("onnxruntime",),
        calibration=128,
    )
    result = mlcnn.quantize("lenet5", "images.npz", options)
    result.save(f"lenet5-{means}.onnx")
    print(result)  # accuracy before and after, with 95 % intervals
    size = result.to_json()["cost"]["bytes"]
    print(f"bytes: {size['before']:,} -> {size['after']:,}; ranges by {result.chosen.observer}")
    kinds = [node.op_type for node in onnx.load(f"lenet5-{means}.onnx").graph.node]
    print(f"{kinds.count('QuantizeLinear')} values are rounded, means are {means}\n")

print(mlcnn.count("lenet5-rounded.onnx"))  # 8-bit layers, fused as before
