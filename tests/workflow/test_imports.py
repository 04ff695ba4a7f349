"""rules/common.smk: every Snakemake process imports it, so that it must be quick."""

import subprocess
import sys

HEAVY = {"torch", "cv2", "numpy", "pandas", "pyarrow", "scipy", "librosa", "onnxruntime", "av"}


def test_the_rules_import_nothing_heavy(root):
    lines = (root / "rules/common.smk").read_text(encoding="utf-8").splitlines()
    imports = [line for line in lines if line.startswith("from lipsync_core")]
    assert len(imports) > 5
    code = "\n".join([*imports, "import sys", f"print(sorted({HEAVY!r} & set(sys.modules)))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
