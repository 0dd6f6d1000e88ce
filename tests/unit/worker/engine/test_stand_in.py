"""The stand-in for the engine's package leaves everybody else's way of finding the wheel as it was."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib.util
before = importlib.util.find_spec("neonize")
from appliance.worker.engine.lazy import install_package_stub
install_package_stub()
after = importlib.util.find_spec("neonize")
assert list(after.submodule_search_locations) == list(before.submodule_search_locations)
assert after.origin == before.origin
import neonize.proto.Neonize_pb2
"""


def test_the_wheel_is_found_as_before() -> None:
    """Whoever asked after it was installed got a ValueError: a module without a spec."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
