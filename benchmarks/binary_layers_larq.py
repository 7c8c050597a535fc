"""Times a chain of binary layers in Larq Compute Engine, for ``benchmarks.binary_layers``.

It runs in an environment of its own, without this package: channels, size, layers and runs in,
processor time of one image in milliseconds out, a line for each run.
"""

import sys
import time

import larq
import larq_compute_engine as lce
import numpy as np
import tensorflow as tf
from larq_compute_engine.tflite.python.interpreter import Interpreter


def main() -> None:
    """Print the times."""
    channels, size, depth, runs = map(int, sys.argv[1:])
    value = given = tf.keras.Input((size, size, channels), batch_size=1)
    for _ in range(depth):
        value = larq.layers.QuantConv2D(
            channels, 3, padding="same", pad_values=1.0, use_bias=False,
            input_quantizer="ste_sign", kernel_quantizer="ste_sign",
            kernel_constraint="weight_clip",
        )(value)  # fmt: skip
        value = tf.keras.layers.BatchNormalization()(value)
    interpreter = Interpreter(lce.convert_keras_model(tf.keras.Model(given, value)), num_threads=1)
    x = np.random.default_rng(0).normal(size=(1, size, size, channels)).astype(np.float32)
    interpreter.predict(x)
    for _ in range(runs):
        start = time.process_time_ns()
        interpreter.predict(x)
        print((time.process_time_ns() - start) / 1e6, flush=True)


main()
