"""What runs under a condition alone: the branches of an If, and images that a mask chooses.

Steps between ``WHEN`` and its ``END`` run where the condition holds. Those between ``IMAGES`` and
its ``END`` run for as many images as its mask has, side by side: ``MOVE_IMAGES`` brings them there,
and their results back.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import onnx_ir as ir

from mlcnn.engines.native.branches import MASK, is_marked
from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.program import Operation, Part, Value
from mlcnn.engines.native.reading import is_known, padded, refusal, sizes_of
from mlcnn.engines.native.regions import Branch, Group, Path, Regions
from mlcnn.engines.native.rounded import codes_like, read_codes
from mlcnn.graph import constant
from mlcnn.nn.site import Site

__all__ = ["lower_all"]

_THEN, _ELSE = 1, 2  # inputs of Where
_TAKEN, _PUT_BACK = 0, 1  # as in branches.h
_UPDATES = 2  # input of ScatterND


def lower_all(build: Builder, graph: ir.Graph, lower: Callable[[Site], None]) -> None:
    """Lower the nodes of a flat network, each where it is needed.

    Args:
        build: what is known.
        graph: the network's.
        lower: of a node that is no part of a choice.

    Raises:
        UnsupportedError: branches whose results differ in shape, or a use of some of the images
            that their number does not allow.
    """
    _Conditional(build, Regions(graph), lower).run(())


class _Conditional:
    def __init__(self, build: Builder, regions: Regions, lower: Callable[[Site], None]) -> None:
        self._build, self._regions, self._lower = build, regions, lower
        self._lists: dict[Group, tuple[Value, int]] = {}  # of images, and how many they may be
        self._of_all: set[Operation] = set()  # what the chosen images are taken from

    def run(self, path: Path) -> None:
        """Lower what belongs to a branch."""
        for node in self._regions.at(path):
            group, site = self._regions.group(node), self._build.site(node)
            chosen = next((b.group for b in reversed(path) if b.group.mask is not None), None)
            if group is None and MASK in node.metadata_props:
                self._take(site, chosen)
                continue
            if chosen is not None and not all(map(is_known, node.outputs)):
                self._check_of_images(site, chosen)
            if group is None:
                self._lower(site)
            elif group.mask is None:
                self._choose(group, path)
            else:
                self._put_back(site, group, path)

    def _choose(self, group: Group, path: Path) -> None:
        """Both branches, of which one runs; each writes the same results."""
        build, sites = self._build, [self._build.site(node) for node in group.nodes]
        condition = build.value_of(group.condition, sites[0].spec.where)
        if prod(condition.shape) != 1:
            raise refusal(sites[0], f"a condition of {prod(condition.shape)} numbers")
        results = [self._result(site) for site in sites]
        for index in (_THEN, _ELSE):
            build.operations.append(Operation(
                Op.WHEN, Part(condition), fields={"images": 1, "mode": int(index == _THEN)},
                opens=tuple(map(Part, results)),
            ))  # fmt: skip
            with build.scope():
                self.run((*path, Branch(group, index)))
                for site, result in zip(sites, results, strict=True):
                    build.copy(build.array(site, index), result)
            build.operations.append(Operation(Op.END, fields={"images": 1}))
        for site, result in zip(sites, results, strict=True):
            build.put(site, site.node.outputs[0], result)

    def _result(self, site: Site) -> Value:
        """Where the results of both branches go."""
        sizes = [sizes_of(site.value(index), site.spec.where) for index in (_THEN, _ELSE)]
        if sizes[0] != sizes[1]:
            shown = " and ".join(str(list(each)) for each in sizes)
            raise refusal(site, f"an If whose branches give {shown}")
        return self._build.new(padded(sizes[0]))

    def _put_back(self, site: Site, group: Group, path: Path) -> None:
        """What is computed of the chosen images alone, in their places among the others."""
        build, where = self._build, site.spec.where
        mask, others = build.value_of(group.condition, where), build.array(site, 0)
        images = sizes_of(site.value(0), where)[0]
        if sizes_of(group.condition, where) != (images,):
            raise refusal(site, "a mask of another shape than one number for each image")
        made = build.new(padded(sizes_of(site.value(0), where)))
        build.copy(others, made)
        listed = build.new((1, build.block, 1, -(-images // build.block)))
        self._lists[group] = listed, images
        build.operations.append(
            Operation(Op.IMAGES, Part(mask), Part(listed), fields={"images": images})
        )
        first = len(build.operations)
        with build.scope():
            self.run((*path, Branch(group, _UPDATES)))
            updates = build.array(site, _UPDATES)
            if (updates.shape, updates.lanes) != (made.shape, made.lanes):
                updates = build.rearranged(updates, made.shape, made.lanes)
            build.operations.append(_moved(updates, made, listed, _PUT_BACK))
        for operation in build.operations[first:]:
            if operation not in self._of_all:
                _of_each(site, operation, images)
        build.operations.append(Operation(Op.END, fields={"images": 1}))
        build.put(site, site.node.outputs[0], made)

    def _take(self, site: Site, group: Group | None) -> None:
        """The chosen images side by side."""
        if group is None or group.mask != site.node.metadata_props[MASK]:
            raise refusal(site, "a result of some images that ScatterND does not put back")
        listed, images = self._lists[group]
        found = read_codes(self._build, site.node.inputs[0])
        if found is not None and found.value.images == images:
            codes = codes_like(self._build, found.value, found.coding)
            self._build.operations.append(_moved(found.value, codes, listed, _TAKEN))
            self._build.codes[site.node.outputs[0]] = replace(found, value=codes)
            return
        before = len(self._build.operations)
        source = self._build.value_of(site.value(0), site.spec.where)
        if source.images != images:
            source = self._build.blocked(site, 0)
        self._of_all.update(self._build.operations[before:])
        if source.images != images:
            raise refusal(site, f"{source.images} images with a mask of {images}")
        made = self._build.new(source.shape, source.lanes)
        made.dense = source.root()[0].dense
        self._build.operations.append(_moved(source, made, listed, _TAKEN))
        self._build.put(site, site.node.outputs[0], made)

    def _check_of_images(self, site: Site, group: Group) -> None:
        """Refuse what does not compute an image from that image alone, or one number of all."""
        node, (_, images) = site.node, self._lists[group]
        for value in node.inputs:
            if value is None or _is_fixed(value):
                continue
            maker = value.producer()
            inside = maker is not None and any(
                branch.group is group for branch in self._regions.paths.get(maker, ())
            )
            sizes = sizes_of(value, site.spec.where, codes=True)
            if prod(sizes) != 1 and (not inside or sizes[0] != images):
                raise refusal(site, f"{list(sizes)} numbers for some of {images} images")
        sizes = sizes_of(node.outputs[0], site.spec.where, codes=True)
        if _mixes_images(site) or (prod(sizes) != 1 and sizes[0] != images):
            raise refusal(site, "a result of several images, where their number is not known,")


def _is_fixed(value: ir.Value) -> bool:
    """Whether a value is the same for all images: known, or made of codes that are."""
    maker = value.producer()
    made = maker is not None and all(v is None or is_known(v) for v in maker.inputs)
    return made or is_known(value)


def _mixes_images(site: Site) -> bool:
    """Whether the first axis of a result is another one than that of the operands."""
    node = site.node
    if node.op_type == "Transpose":
        return (site.spec.integers("perm") or (1,))[0] != 0
    if node.op_type == "Gemm":
        return bool(site.spec.integer("transA", 0))
    if node.op_type == "MatMul":
        return constant(node.inputs[0]) is not None
    operands = [value for value in node.inputs if value is not None]
    operands = [value for value in operands if not _is_fixed(value)]
    ranks = {len(value.shape or ()) for value in operands} - {0}
    return len(ranks) > 1 and not is_marked(node)


def _moved(source: Value, made: Value, listed: Value, mode: int) -> Operation:
    return Operation(Op.MOVE_IMAGES, Part(source), Part(made), Part(listed), {
        "mode": mode, "images": source.images, "blocks": len(source.lanes),
        "rows": source.rows, "columns": source.columns,
    })  # fmt: skip


def _of_each(site: Site, operation: Operation, images: int) -> None:
    """Let a step run for the images that there are, of so many."""
    for each in (*operation.inner, *filter(None, [operation.before]), operation):
        planned = int(each.fields["images"])
        if planned % images and planned != 1:
            raise refusal(site, f"a step for {planned} images where {images} are expected")
        each.fields["each"] = planned // images
