"""Pools, and means over rows and columns."""

from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.library import Op, Pool
from mlcnn.engines.native.program import Operation, Part, Value
from mlcnn.engines.native.reading import DENSE_ORDER, rank_of, refusal
from mlcnn.graph.operators import Windows, pool_windows
from mlcnn.nn.site import Site

__all__ = ["RULES"]


def _pool(build: Builder, site: Site) -> None:
    windows = pool_windows(site.spec)
    if len(windows.kernel) != 2:
        raise refusal(site, f"a {len(windows.kernel)}-D pool")
    mode = Pool.MAX
    if site.node.op_type == "AveragePool":
        include = site.spec.integer("count_include_pad", 0)
        mode = Pool.AVERAGE_PADDED if include else Pool.AVERAGE
    _append(build, site, build.blocked(site, 0), windows, mode)


def _pool_all(build: Builder, site: Site) -> None:
    if site.node.op_type == "ReduceMean":
        axes = site.spec.integers("axes")
        given = site.tensor(1)
        if given is not None:
            axes = tuple(int(axis) for axis in given.flatten().tolist())
        if rank_of(site) != 4 or axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
            raise refusal(site, "a mean over other axes than rows and columns")
    source = build.blocked(site, 0)
    windows = Windows((source.rows, source.columns), (1, 1), (1, 1), (0, 0), (0, 0))
    mode = Pool.MAX if site.node.op_type == "GlobalMaxPool" else Pool.AVERAGE
    _append(build, site, source, windows, mode)


def _append(build: Builder, site: Site, source: Value, windows: Windows, mode: Pool) -> None:
    sizes = source.rows, source.columns
    (top, left), (bottom, right) = windows.pads(sizes)
    rows, columns = windows.counts(sizes)
    if min(top, left, bottom, right) < 0:
        raise refusal(site, "negative padding")
    if min(rows, columns) < 1:
        raise refusal(site, f"an image {list(sizes)} smaller than its window")
    made = build.new((source.images, source.channels, rows, columns), source.lanes)
    before = _before(build, site, source)
    operation = Operation(Op.POOL, Part(source), Part(made), None, {
        "mode": mode, "images": source.images, "blocks": len(source.lanes),
        "rows": rows, "columns": columns, "input_rows": sizes[0], "input_columns": sizes[1],
        "kernel_rows": windows.kernel[0], "kernel_columns": windows.kernel[1],
        "stride_rows": windows.strides[0], "stride_columns": windows.strides[1],
        "dilation_rows": windows.dilations[0], "dilation_columns": windows.dilations[1],
        "top": top, "left": left, "bottom": bottom, "right": right,
    })  # fmt: skip
    if before is not None:
        build.operations.remove(before)
        operation.x, operation.before = before.x, before
    build.end(site, operation, site.node.outputs[0], made)


def _before(build: Builder, site: Site, source: Value) -> Operation | None:
    """The pool whose result this one alone reads: both together stay in the cache."""
    given = site.value(0)
    maker = None if given is None else given.producer()
    if given is None or maker is None or build.only_reader(given) is None:
        return None
    if maker.op_type in DENSE_ORDER:  # the value may have readers by other names
        return None
    for operation in build.operations:
        if operation.op == Op.POOL and operation.y is not None and operation.y.value is source:
            return None if operation.before is not None else operation
    return None


RULES: dict[str, Rule] = {
    "AveragePool": _pool,
    "GlobalAveragePool": _pool_all,
    "GlobalMaxPool": _pool_all,
    "MaxPool": _pool,
    "ReduceMean": _pool_all,
}
