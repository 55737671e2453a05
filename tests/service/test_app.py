"""What the API process imports, and what of a request it does in threads."""

import inspect
import subprocess
import sys
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from service.app import ROUTERS
from service.query_rules import require_known_parameters
from service.routes.events import existing_job


def test_the_api_has_no_torch() -> None:
    # In a process of its own: other tests of this one import torch.
    code = "import sys, service.app; service.app.create_app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_image_without_torch_has_the_commands_that_its_container_needs() -> None:
    modules = ", ".join(f"darefine.cli.{name}" for name in ("main", "keys", "probe", "settings", "recover"))
    code = f"import sys; sys.modules['torch'] = None; import service.app, {modules}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_waits_for_nothing_is_called_in_no_thread() -> None:
    plain = {
        one.call
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for one in below(route.dependant)
        if not inspect.iscoroutinefunction(one.call)
    }
    assert plain == {existing_job}, "which asks the queue"
    assert inspect.iscoroutinefunction(require_known_parameters)


def below(dependant: Dependant) -> Iterator[Dependant]:
    """All that a route depends on."""
    for one in dependant.dependencies:
        yield one
        yield from below(one)
