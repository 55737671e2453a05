"""What must be true after faults: nothing lost, doubled, changed or left over."""

from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path

from darefine.client import Client, JobState

from .laboratory import Laboratory, file_hashes


def wrong_jobs(
    client: Client, laboratory: Laboratory, known: Set[str], undisturbed: Mapping[Path, Mapping[str, str]]
) -> dict[str, list[str]]:
    """Return ids of jobs that were lost, doubled or failed, or whose files are not as of an undisturbed run.

    A job is lost if it was accepted and is not over or not listed; doubled if nobody submitted it, or it is
    listed twice.

    Args:
        client: of the service.
        laboratory: submitted the jobs.
        known: ids of all jobs that were accepted.
        undisturbed: sha256 of the files of each slide's result.
    """
    listed = Counter(job.id for job in client.jobs())
    over = laboratory.over
    succeeded = [job_id for job_id, job in over.items() if job.state is JobState.SUCCEEDED]
    return {
        "jobs lost": [one for one in laboratory.slide_of if one not in over or one not in listed],
        "jobs doubled": [one for one, times in listed.items() if one not in known or times > 1],
        "jobs failed": [job_id for job_id in over if job_id not in succeeded],
        "jobs with other bytes": [
            one
            for one in succeeded
            if file_hashes(client.result(one)) != undisturbed[laboratory.slide_of[one]]
        ],
    }


def file_names(folder: Path) -> set[str]:
    """Return the names of all files under a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def leftovers(data_dir: Path, names: Set[str]) -> list[str]:
    """Return files of the data folder that an undisturbed run leaves not.

    Args:
        data_dir: of the service.
        names: what an undisturbed job leaves in its folder.
    """
    of_jobs = {
        path
        for job in (data_dir / "jobs").iterdir()
        for path in job.rglob("*")
        if path.is_file() and str(path.relative_to(job)) not in names
    }
    return [str(path.relative_to(data_dir)) for path in sorted(of_jobs | set(data_dir.rglob("*.partial")))]
