"""What the pages' commands need here, what is cut short, and what cannot run.

A row that no command needs any more is an error, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CUTS", "ELSEWHERE", "FILES", "FRAGMENTS", "OTHERS", "PREAMBLES", "PROGRAMS", "Cut"]

FILES: Mapping[str, str] = {
    "net.onnx": "a trained network of yours",
    "before.onnx": "the same",
    "after.onnx": "it, rewritten",
    "old.onnx": "a network as it was",
    "new.onnx": "it, changed",
    "baseline.onnx": "a network as it was",
    "digits.onnx": "a trained network for MNIST",
    "photos/": "labelled images, a folder for each class",
    "cifar10/": "CIFAR-10, unpacked",
    "data.npz": "inputs of net.onnx, by name",
    "arch.yaml": "an architecture as Timeloop has it",
    "problem.yaml": "a layer as Timeloop has it",
    "shop/nets.py": "a module with a function that builds a network",
    "net.pth": "its weights, pickled",
    "trained.pth": "its weights, pickled by torch.save",
    "resnet20.npz": "trained weights of the zoo's network of this name",
    "trained.safetensors": "weights of a network of timm",
    "crossbars/mine.yaml": "a file of the page's own package",
    "peers.csv": "results that a command before has made",
    "exact.csv": "results that a command before has made",
    "yardstick.csv": "results that a command of another section has made",
    "gemmini_mappings_dev.csv.gz": "a table that another project publishes",
    "image.bin": "an image as it lies in memory",
    "scores.bin": "what is written there",
    "firesim_results.csv.gz": "a table that another project publishes",
}
"""Names that stand for files of the reader: what they are. ``scene.py`` makes them."""

PROGRAMS = frozenset(
    {"build/net_example", "cc", "cd", "cmake", "cp", "make", "mlcnn", "pip", "python", "torchrun"}
)
"""Programs that a page may call; what is not in ``ELSEWHERE`` runs in a shell."""

ELSEWHERE: Mapping[str, str] = {
    r"^make (run|test)$": "sets up an environment and runs for minutes; CI runs it",
    r"^pip install .*mlcnn": "changes the environment that the tests run in",
    r"^pip install .*timm": "a download",
    r"(timm|torchvision):": "packages that `make setup` puts aside; tests/cli/test_sources.py",
    r"--layer problem\.yaml": "needs Timeloop's files; tests/codesign/timeloop/ reads such",
    r"^\./example ": "reads images that are not made here; tests/engines/test_deploying.py",
    r"skip digits\.onnx": "needs images with a background, and noise has none",
    r"^docker ": "needs Docker",
    r"--netron$": "opens a window, and needs Netron; tests/cli/test_diff.py",
    r"^torchrun ": "its processes would share the two cores; tests/training/ runs two",
    r"--(engine|workers) ray": "Ray starts processes for half a minute; needs the extra ray",
    r"--device cuda": "needs a GPU",
    r"--runs runs/study": "draws runs on CIFAR-10 and CIFAR-100, which are not made here",
    r"--data cifar100": "a download; `mlcnn study` runs in tests/cli/ and tests/api/",
    r"benchmarks\.exploring_peers": "takes hours; tests/test_exploring_peers.py runs small ones",
    r"mlcnn\.codesign\.validate": "needs the table of mappings that another project publishes",
    r"mlcnn\.codesign\.firesim": "needs the table of measurements that another project publishes",
}
"""Commands that do not run in this test, by pattern, and why."""


@dataclass(frozen=True)
class Cut:
    """How a long command is cut short.

    Attributes:
        pattern: of the commands that it is for.
        options: are added, or take the place of the same ones.
        told: what is cut.
    """

    pattern: str
    options: str
    told: str


CUTS = (
    Cut(r"--data cifar10(?!0)", "--data ten-classes.npz", "2,600 images of noise, no download"),
    Cut(r"^mlcnn (train|finetune) ", "--epochs 1 --limit 64", "one epoch of 64 images"),
    Cut(r"--precision bf16", "--precision fp32", "fp32: many processors emulate bf16, slowly"),
    Cut(r"^mlcnn finetune ", "--seconds 0.1", "a tenth of a second of timing"),
    Cut(r"^mlcnn compress ", "--attempts 1", "one network in place of three"),
    Cut(r"^mlcnn (compress|skip) ", "--epochs 1 --limit 64", "one epoch of 64 images"),
    Cut(r"^mlcnn (compress|skip) ", "--no-measure", "no latencies"),
    Cut(r"^mlcnn stack ", "--epochs 1 --limit 64 --no-measure", "one epoch of 64 images, no times"),
    Cut(r"^mlcnn cheapest ", "--budget 20s --first 64", "20 s of search, few images"),
    Cut(r"^mlcnn (run|bench) ", "--seconds 0.1", "a tenth of a second of timing"),
    Cut(r"^mlcnn map ", "--budget 2s", "two seconds of search"),
    Cut(r"^mlcnn explore ", "--budget 30s", "half a minute of search"),
    Cut(r"^mlcnn study ", "--epochs 1 --limit 64 --seeds 1", "one epoch of 64 images, one seed"),
    Cut(
        r"^pip install \./",
        "--no-deps --no-index --no-build-isolation --target site",
        "a folder of its own",
    ),
    Cut(r"^mlcnn rtl simulate .*--images 200", "--images 2", "2 images in place of 200"),
)

OTHERS = frozenset({"clip-activations", "pair"})
"""Passes of the packages that a page tells how to write; ``scene.py`` has their folders."""

FRAGMENTS: Mapping[str, str] = {
    "docs/timeloop.md": "needs the files of a Timeloop run; tests/codesign/ runs the same calls",
}
"""Pages whose python blocks are compiled and not run, and why."""

_TORCH = """
import mlcnn
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.AvgPool2d(2), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )
        self.classifier = nn.Linear(512, 2)

    def forward(self, x):
        return self.classifier(self.features(x))


torch.manual_seed(0)
module = Net().eval()
example_input = torch.randn(2, 3, 32, 32)
images = example_input.numpy()
"""
PREAMBLES: Mapping[str, str] = {
    "": _TORCH,
    "docs/pytorch.md": _TORCH.replace("example_input.numpy()", "example_input"),
}
"""What python blocks take for given, by page; under the empty name that of all others."""
