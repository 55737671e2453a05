"""Jobs for the tests of this folder."""

from dataclasses import replace

from tests.workers.conftest import Queue
from workers.jobs import Job, JobRequest, Problem

REQUEST = JobRequest(slide_id="5" * 24, slide_name="a.svs", slide_path="/slides/a.svs", model="stand-in")
PROBLEM = Problem("slide-unreadable", "Not a slide", "Send a slide.")


def submit(queue: Queue, **changes: object) -> Job:
    """A new job."""
    return queue.client.submit(replace(REQUEST, **changes))


def running(queue: Queue) -> Job:
    """A job that worker `w` runs."""
    job = queue.lease.start(submit(queue).id, 1, "w")
    assert job is not None
    return job
