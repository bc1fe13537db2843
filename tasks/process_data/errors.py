"""What can be wrong with a request's source, rules or destination.

Every message says what was expected, what was found and what to do, and names
the file, and the row and column where there is one.
"""

from __future__ import annotations

from coordinator.errors import BatutaError


class SourceError(BatutaError):
    """A source can't be read as asked."""


class RulesError(BatutaError):
    """The rules can't be used on this source."""


class DestinationError(BatutaError):
    """The destination can't take the output."""


class TooManyInvalid(BatutaError):
    """More rows are invalid than the rules accept."""
