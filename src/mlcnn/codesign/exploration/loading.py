"""Templates by name, or from a user's YAML file."""

import importlib.resources
from functools import lru_cache
from pathlib import Path

from mlcnn.accelerators.border import is_file, read_description, unknown
from mlcnn.codesign.exploration.arrays import ArrayTemplate, ArrayTemplateFile
from mlcnn.codesign.exploration.loop_nests import LoopNestTemplate, LoopNestTemplateFile
from mlcnn.codesign.exploration.template import Template

__all__ = ["load_template", "template_names"]

_WHAT = "template"
_ACCELERATORS = "accelerators"


def _folder() -> Path:
    return Path(str(importlib.resources.files("mlcnn.codesign") / "spaces"))


@lru_cache
def template_names() -> tuple[str, ...]:
    """The templates that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def load_template(name: str | Path) -> Template:
    """A template by name, or from a ``.yaml`` file of the user's.

    A file with the key ``accelerators`` is one of arrays, any other one of loop nests.

    Raises:
        InputError: the name is not known or the file is wrong.

    Example:
        >>> space = load_template("gemmini").space()
        >>> len(space), [one.name for one in space.parameters]
        (1008, ['pe', 'scratchpad_kb', 'accumulator_kb'])
    """
    if is_file(name):
        return _read(Path(name))
    if name not in template_names():
        raise unknown(_WHAT, name, template_names())
    return _built_in(str(name))


@lru_cache
def _built_in(name: str) -> Template:
    return _read(_folder() / f"{name}.yaml")


def _read(path: Path) -> Template:
    keys = dict.fromkeys((*LoopNestTemplateFile.model_fields, *ArrayTemplateFile.model_fields))
    description = read_description(path, _WHAT, tuple(keys))
    if _ACCELERATORS in description.values:
        return ArrayTemplate.of(description)
    return LoopNestTemplate.of(description)
