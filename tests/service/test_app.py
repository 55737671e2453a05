"""What the API process imports."""

import subprocess
import sys


def test_the_api_has_no_torch() -> None:
    # In a process of its own: other tests of this one import torch.
    code = "import sys, service.app; service.app.create_app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_image_without_torch_has_the_commands_that_its_container_needs() -> None:
    modules = ", ".join(f"darefine.cli.{name}" for name in ("main", "keys", "probe", "settings", "recover"))
    code = f"import sys; sys.modules['torch'] = None; import service.app, {modules}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
