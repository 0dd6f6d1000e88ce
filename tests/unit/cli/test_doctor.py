"""Whose findings count, and what the exit status says of them."""

from __future__ import annotations

import pytest

from appliance.cli.doctor import exit_of, merged
from appliance.model_doctor import Finding, Severity


def finding(check: str, found: str, *, partial: bool = False, fixed: bool = False) -> Finding:
    return Finding(check=check, severity=Severity.OK, looked_at="x", found=found, partial=partial, fixed=fixed)


def test_who_sees_more_counts() -> None:
    ours = [finding("a", "ours"), finding("b", "ours", partial=True), finding("c", "ours", partial=True)]
    theirs = [
        finding("a", "theirs"),
        finding("b", "theirs"),
        finding("c", "theirs", partial=True),
        finding("d", "theirs"),
    ]
    result = merged(["d", "a", "b", "c"], ours, theirs)
    assert [(one.check, one.found) for one in result] == [
        ("d", "theirs"),
        ("a", "ours"),
        ("b", "theirs"),
        ("c", "ours"),
    ]


def test_what_was_put_right_is_told_whoever_looked_last() -> None:
    ours = [finding("a", "mended", fixed=True), finding("a", "ours", partial=True)]
    assert [one.found for one in merged(["a"], ours, [finding("a", "theirs")])] == ["mended", "theirs"]


@pytest.mark.parametrize(
    ("worst", "status"), [(Severity.OK, 0), (Severity.INFO, 0), (Severity.WARNING, 1), (Severity.PROBLEM, 2)]
)
def test_exit_status(worst: Severity, status: int) -> None:
    assert exit_of(worst) == status
