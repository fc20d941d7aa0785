"""What the C library keeps."""

import os
import platform
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, tempfile, threading
from app.allocator import keep_little

keep_little()
together = threading.Barrier(9)

def work():
    held = bytes(100_000)
    together.wait()  # a heap is another's if none is left alone

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
libc.fclose.argtypes = (ctypes.c_void_p,)
with tempfile.NamedTemporaryFile() as told:
    file = libc.fopen(told.name.encode(), b"w")
    libc.malloc_info(0, file)
    libc.fclose(file)
    print(told.read().count(b"<heap "))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
@pytest.mark.parametrize("asked", [True, False])
def test_threads_share_a_heap_unless_somebody_asked_otherwise(asked):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    env |= {"MALLOC_ARENA_MAX": "8"} if asked else {}
    done = subprocess.run(
        [sys.executable, "-c", HEAPS], env=env, capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) > 2) == asked, done.stdout
