"""The errors that the staging network itself raises."""

from __future__ import annotations


class StagingError(Exception):
    """Something about the staging network that its user can understand and change."""


class LibraryError(StagingError):
    """The engine library was not found, or is not one that can be patched."""


class RequestError(StagingError):
    """A control request that makes no sense; the text names the field and the remedy."""


class NotRunningError(StagingError):
    """No staging network answers in that folder."""
