"""Runs that nobody trained: how often each is right is chosen."""

import numpy as np

from mlcnn.reproduce.study import Cell, Run

IMAGES = 1003  # no multiple of eight: the last byte of the bits is not full


def toy_run(form="original", seed=0, share=0.6, *, network="lenet5", dataset="cifar10",
            precision="fp32", top5=0.9, epochs=12):  # fmt: skip
    """A run whose images are easy in the same order for all; its seed moves the share a little."""
    ease = np.random.default_rng(99).random(IMAGES)
    noise = np.random.default_rng(seed).normal(0, 0.02, IMAGES)
    right = ease + noise < share
    rows = tuple({"number": i + 1, "loss": 1.0, "seconds": 0.5} for i in range(epochs))
    return Run(
        Cell(network, dataset, form, precision), seed, {"epochs": epochs}, rows, 6.0, right, top5,
        {"device": "cpu"},
    )  # fmt: skip


def toy_study(shares, seeds=5, **options):
    """Runs of each form with its share, from each seed."""
    return tuple(
        toy_run(form, seed, share, **options)
        for form, share in shares.items()
        for seed in range(seeds)
    )
