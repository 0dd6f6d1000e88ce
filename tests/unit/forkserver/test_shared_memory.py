"""In a process of its own: what is measured is the allocator of a whole interpreter."""

import json
import subprocess
import sys

from appliance.forkserver.shared_memory import SIZE_LIMIT, SIZE_STEP

SIZES = range(SIZE_STEP, SIZE_LIMIT + 1, SIZE_STEP)
CODE = """
import asyncio, ctypes, gc, json, sys
from appliance.forkserver.shared_memory import freeze
allocate = ctypes.pythonapi.PyObject_Malloc
allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p
sizes = range(16, 513, 16)
gc.disable()
holes = [[bytes(size) for _ in range(3000)][::7] for size in range(0, 480, 16)]
before = [allocate(size) & 0x3FFF for size in sizes] if sys.argv[1] == "before" else []
filled = freeze()
after = before or [allocate(size) & 0x3FFF for size in sizes]
print(json.dumps({"filled": filled, "after": after, "frozen": gc.get_freeze_count()}))
"""


def run(when: str) -> tuple[int, int, int]:
    """Bytes filled; how many sizes have their next block at the beginning of a fresh pool; objects frozen."""
    out = subprocess.run([sys.executable, "-c", CODE, when], check=True, capture_output=True, text=True).stdout
    told = json.loads(out)
    return told["filled"], sum(place == 48 for place in told["after"]), told["frozen"]


def test_after_it_the_next_small_objects_come_from_fresh_pages() -> None:
    filled, fresh, frozen = run("after")
    assert filled > 100_000
    assert fresh >= len(SIZES) - 8, "the interpreter itself has given back a few blocks meanwhile"
    assert frozen > 1000


def test_without_it_they_come_from_holes_between_what_is_there() -> None:
    _, fresh, _ = run("before")
    assert fresh <= 4


def test_names_that_were_looked_up_once_are_let_go() -> None:
    code = """
import sys
from appliance.forkserver.shared_memory import freeze
names = [f"asked for at the start {n}" for n in range(64)]
before = sum(map(sys.getrefcount, names))
any([hasattr(sys, name) for name in names])
held = sum(map(sys.getrefcount, names))
freeze()
print(held - before, sum(map(sys.getrefcount, names)) - before)
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    held, left = map(int, out.split())
    assert held > 32, "the interpreter remembers lookups with their names"
    assert left == 0
