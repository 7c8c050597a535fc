"""How foreign errors are quoted in one line."""

__all__ = ["innermost", "quote"]

_LENGTH = 300


def quote(error: BaseException) -> str:
    r"""An error's type and first line.

    Args:
        error: any exception.

    Example:
        >>> quote(ValueError("too large\nsee the log"))
        'ValueError: too large'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:_LENGTH]}" if lines else type(error).__name__


def innermost(error: BaseException) -> BaseException:
    """The error at the bottom of a chain of causes.

    Args:
        error: any exception.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return error
