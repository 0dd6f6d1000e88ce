"""The one kind of error that the daemon's rooms raise for a caller: a Problem (RFC 9457) with a remedy.

The API sends it as it is, the CLI prints its detail and remedy and maps its status to an exit code.
"""

from __future__ import annotations

from typing import Final

from appliance.model import Problem

_TYPE_PREFIX: Final = "urn:amda:problem:"
"""RFC 9457 wants a URI; these name a kind of problem and lead nowhere."""


class ProblemError(Exception):
    """Something that the caller must be told. `str()` is one line."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.retry_after_s = retry_after_s
        """When it makes sense to ask again; sent as Retry-After."""
        self.headers: dict[str, str] = {}
        """Further headers that its status asks for."""


def problem(kind: str, title: str, status: int, detail: str = "", *, remedy: str = "", field: str = "") -> ProblemError:
    """A ProblemError of type `urn:amda:problem:<kind>`."""
    body = Problem(type=_TYPE_PREFIX + kind, title=title, status=status, detail=detail, remedy=remedy, field=field)
    return ProblemError(body)


def invalid(field: str, detail: str, remedy: str = "") -> ProblemError:
    """400: the request itself is wrong; `field` names the place."""
    return problem("invalid-input", "Invalid input", 400, detail, remedy=remedy, field=field)


def not_found(what: str, name: str, remedy: str = "") -> ProblemError:
    """404: no such session, pairing, media item …"""
    return problem("not-found", f"No such {what}", 404, f"There is no {what} {name}.", remedy=remedy)


def conflict(detail: str, remedy: str = "") -> ProblemError:
    """409: refused because of what is going on, or of the present state; the detail says who or what is in the way."""
    return problem("conflict", "Not possible now", 409, detail, remedy=remedy)


def too_many(detail: str, remedy: str, retry_after_s: float) -> ProblemError:
    """429: asked too often; the detail says what is counted."""
    error = problem("rate-limited", "Too many requests", 429, detail, remedy=remedy)
    error.retry_after_s = retry_after_s
    return error


def unavailable(detail: str, remedy: str = "", retry_after_s: float | None = None) -> ProblemError:
    """503: a part that this needs is away."""
    error = problem("unavailable", "Not available right now", 503, detail, remedy=remedy)
    error.retry_after_s = retry_after_s
    return error


def timed_out(detail: str, remedy: str = "") -> ProblemError:
    """504: whoever had to answer did not, within the time that it was given."""
    return problem("timeout", "No answer in time", 504, detail, remedy=remedy)
