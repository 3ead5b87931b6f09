"""What libraries may be called."""

import re

from onebyone.errors import UnknownNameError

_KEYWORDS = """auto break case char const continue default do double else enum extern float for goto
if inline int long register restrict return short signed sizeof static struct switch typedef union
unsigned void volatile while"""
_SYSTEM = "anl atomic c crypt dl g gcc m pthread resolv rt stdc ubsan util"

KEYWORDS = frozenset(_KEYWORDS.split())
"""What C cannot take for a name."""

SYSTEM = frozenset(_SYSTEM.split())
"""Names whose library a linker would take for one of the system's: `-lm` is libm."""


def check_name(name: str) -> str:
    """Return a name that functions of C can begin with.

    Raises:
        UnknownNameError: If it cannot be.
    """
    if name in SYSTEM:
        raise UnknownNameError(f"`name` (={name!r}): lib{name} is a library of the system's")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name in KEYWORDS:
        raise UnknownNameError(
            f"`name` (={name!r}) must begin with a small letter and have only such, digits and "
            "_, since the functions of the library begin with it"
        )
    return name


def name_for(text: str) -> str:
    """Return a library's name after what something is called.

    Example:
        >>> name_for("timm:MobileNetV3_large.075"), name_for("2-nets")
        ('timm_mobilenetv3_large_075', 'net_2_nets')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:50] or "net"
    can_be = plain[0].isalpha() and plain not in KEYWORDS | SYSTEM
    return plain if can_be else f"net_{plain}"
