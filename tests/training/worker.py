"""A process that trains LeNet-5, to be killed: says each step and each checkpoint that it begins.

python worker.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

import torch

from mlcnn import nn, training, zoo
from mlcnn.training import checkpoint
from mlcnn.training.initialise import initialise

RECIPE = training.Recipe(epochs=2, batch_size=50, learning_rate=0.02, crop=2)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    real = os.fsync

    def fsync(handle: int) -> None:
        say("writing")
        real(handle)

    checkpoint.os.fsync = fsync
    module = nn.to_module(zoo.untrained(zoo.describe("lenet5")))
    initialise(module, 0)
    images, validation = training.load_sample().split(100)
    with training.processes("cpu") as (processes, _):
        history = training.train(
            module,
            images,
            RECIPE,
            normal=training.Normal((0.5,), (0.25,)),
            validation=validation,
            seed=4,
            processes=processes,
            checkpoint=folder / "checkpoint.npz",
            every_s=0,
            tell=lambda done, _: say(f"step {done}"),
        )
        if processes.rank == 0:
            training.save_weights(module, folder / "weights.npz")
            losses = [epoch.loss for epoch in history]
            (folder / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
