"""Networks of other packages and of hubs, by names with a prefix: ``timm:resnet50``."""

from mlcnn.zoo.hubs.registry import (
    PREFIX,
    has_prefix,
    network_source,
    prefixes,
    short_name,
    split_source,
    unknown_prefix,
    wanted,
)
from mlcnn.zoo.hubs.source import Images, Made, NetworkSource, Wanted

__all__ = [
    "PREFIX",
    "Images",
    "Made",
    "NetworkSource",
    "Wanted",
    "has_prefix",
    "network_source",
    "prefixes",
    "short_name",
    "split_source",
    "unknown_prefix",
    "wanted",
]
