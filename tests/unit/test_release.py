"""One number names the release everywhere."""

import tomllib
from pathlib import Path

import appliance


def test_package_and_project_file_agree() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == appliance.__version__
