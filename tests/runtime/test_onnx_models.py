"""onnxruntime reports nothing to its maker."""

from __future__ import annotations

import os
import re
import subprocess
import sys

LOADER = "lipsync_core/runtime/onnx_models.py"


def test_telemetry_is_off_wherever_onnxruntime_is_imported(root, tmp_path):
    loads = re.compile(r"^ *import onnxruntime\b", re.M)
    files = {
        str(path.relative_to(root))
        for path in root.glob("lipsync_core/**/*.py")
        if loads.search(path.read_text(encoding="utf-8"))
    }
    assert files == {LOADER}
    code = "from lipsync_core.runtime.onnx_models import onnxruntime_module as m; m()"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert os.listdir(tmp_path) == []  # its telemetry keeps the id of its session there
