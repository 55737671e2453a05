"""The running service does what its OpenAPI document says, for thousands of calls made from that document."""

import subprocess
import sys
from pathlib import Path

import pytest

from darefine.client import Client
from wsi.phantom import PhantomFiles

from .conftest import RunningService

pytestmark = pytest.mark.e2e

SECONDS = 30

CONFIG = """\
[parameters]
"path.job_id" = "{job}"
"path.slide_id" = "{slide}"
"path.name" = "{name}"

# What other calls are about must stay.
[[operations]]
include-method = "DELETE"
parameters = {{ "path.job_id" = "{none}", "path.slide_id" = "{none}" }}
"""


def test_calls_made_from_the_document_are_answered_as_it_says(
    service: RunningService, client: Client, small_phantom: PhantomFiles, tmp_path: Path
) -> None:
    job = client.wait(client.submit(client.upload(small_phantom.slide).id).id)
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(job=job.id, slide=job.slide.id, name="overlay.tif", none="0" * 24))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", f"{service.url}/openapi.json", "--seed", "1", "--max-time", str(SECONDS)]
    # tus answers 412 where its headers are wrong; and no schema can say what a readable slide is.
    command += ["--exclude-path-regex", "^/v1/uploads", "--exclude-checks", "positive_data_acceptance"]
    # Removing everything, and calling hosts of made-up names, are not for tests.
    command += ["--exclude-operation-id", "prune", "--exclude-operation-id", "create_webhook"]
    command += [
        "--phases",
        "examples,coverage,fuzzing",
        "--continue-on-failure",
        "--request-timeout",
        "20",
        "--no-color",
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert client.job(job.id) == job, "nothing has touched it"
