"""What a rewrite is asked to do."""

from dataclasses import dataclass

__all__ = ["NO_REWRITE", "RewriteOptions"]


@dataclass(frozen=True, slots=True)
class RewriteOptions:
    """Which passes run, where, and in which form.

    Attributes:
        passes: the pipeline as text, or an alias: ``exact`` keeps the network's function,
            ``mlcnn`` has the approximate passes too and needs fine-tuning. By default a zoo name
            gets ``mlcnn`` and everything else ``exact``.
        form: how fused sites compute: ``auto``, or the name of a form of a method.
        window: what an average pool in place of a max pool averages: ``keep`` or ``stride``.
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
        everywhere: replace every max pool, also where nothing is gained.
        settings: ``pass.option=value``: options of single passes.
    """

    passes: str | None = None
    form: str | None = None
    window: str | None = None
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    everywhere: bool = False
    settings: tuple[str, ...] = ()


NO_REWRITE = RewriteOptions()
"""Nothing asked for."""
