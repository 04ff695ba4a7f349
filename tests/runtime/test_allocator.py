"""The allocator keeps what is freed: pages of large arrays are cleared by the system once."""

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import numpy as np
from lipsync_core.runtime.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(1 << 22)  # 32 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(1 << 22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_used_again():
    faults = {
        how: int(
            subprocess.run([sys.executable, "-c", COUNT_FAULTS, how], capture_output=True).stdout
        )
        for how in ("keep", "default")
    }
    assert faults["keep"] < 100
