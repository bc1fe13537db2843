"""How many of a thing, in words. Pure."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 message``, ``2,000 messages``.

    Args:
        number: how many.
        one: the noun in the singular.
        many: in the plural, where that is not ``one`` and an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
