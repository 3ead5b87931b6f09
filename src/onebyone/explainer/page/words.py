"""Numbers as the page shows them, where that is not as in `explainer.words`."""


def digits(number: float, count: int = 3) -> str:
    """Show a number by some digits, without an exponent.

    Example:
        >>> digits(4.0891), digits(9.6), digits(812.3), digits(0.01234), digits(0), digits(12345)
        ('4.09', '9.60', '812', '0.0123', '0', '12,345')
    """
    if number == 0:
        return "0"
    power = int(f"{number:.{count - 1}e}".partition("e")[2])  # of ten, after rounding
    return f"{number:,.{max(0, count - 1 - power)}f}"


def times(number: float) -> str:
    """Show how many times something is as much.

    Example:
        >>> times(6.3368), times(13.57), times(1.0), times(0.8957)
        ('6.34×', '13.6×', '1.00×', '0.90×')
    """
    return f"{digits(number, 3 if number >= 1 else 2)}×"


def exact(number: int) -> str:
    """Show all digits, in groups of three."""
    return f"{number:,}"


def percent(share: float) -> str:
    """Show a share, 0 to 1, in per cent.

    Example:
        >>> percent(0.5183), percent(0.0004), percent(0), percent(1)
        ('51.8%', '< 0.1%', '0%', '100%')
    """
    if 0 < share < 0.0005:
        return "< 0.1%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def shape(sizes: tuple[int, ...]) -> str:
    """Show a shape.

    Example:
        >>> shape((1, 3, 224, 224)), shape(())
        ('1×3×224×224', 'one number')
    """
    return "×".join(map(str, sizes)) or "one number"


def several(number: int, noun: str) -> str:
    """Put a number before a noun that takes an s.

    Example:
        >>> several(1, "image"), several(7, "image")
        ('1 image', '7 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
