"""Command group `darefine`.

Each command's module is imported only when it is called: `submit` never loads torch.
"""

import importlib
import logging
import os
from typing import Any

import click
from pydantic import ValidationError

from model.errors import ModelError
from model.inference.cpu_tuning import tune_openmp_wait
from workers.settings import LogSettings
from wsi.errors import WsiError
from wsi.log_setup import configure_logging

from .environment import explain_settings, require_known_variables

COMMANDS = {
    "demo": ("demo", "Start everything, run a phantom slide through it, show the result, stop."),
    "serve": ("serve", "Run API, worker and embedded queue until stopped."),
    "keys": ("keys", "Make, list and revoke the keys that open the service to other machines."),
    "worker": ("worker", "Run workers against a queue that others share."),
    "probe": ("probe", "Say whether the API or this host's workers are well, for health checks."),
    "workers": ("workers", "List the workers of a service, and why some take no jobs."),
    "run": ("run", "Label slides on this machine, without a service."),
    "submit": ("submit", "Send slides to a service and download the results."),
    "batch": ("batch", "Have a service label many slides at once; watch, pause, resume or cancel that."),
    "jobs": ("jobs", "List, show, wait for, cancel, download or remove jobs of a service."),
    "slides": ("slides", "List or remove slides of a service."),
    "prune": ("prune", "Remove old results and slides of a service, or say which would go."),
    "recover": ("recover", "List jobs again from the data folder, after the queue has lost them."),
    "phantom": ("phantom", "Make a synthetic slide with its truth."),
    "models": ("models", "List the networks of the paper's tables, or the models that a service has."),
    "prepare": ("prepare", "Make the index of slides and truths that train and evaluate read."),
    "train": ("train", "Train a network; write weights and card."),
    "evaluate": ("evaluate", "Score networks on slides with truth, or a label map against its truth."),
    "bench": ("bench", "Measure what this machine reaches with a model."),
    "settings": ("settings", "List the environment variables that are read."),
    "doctor": ("doctor", "Say what this machine has and what is wrong with it."),
}


class LazyGroup(click.Group):
    """Click group that imports a command's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command of the same name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; report errors of settings, models and slides without a traceback."""
        try:
            return super().invoke(ctx)
        except (ModelError, WsiError) as error:
            raise click.ClickException(str(error)) from error
        except ValidationError as error:
            raise click.ClickException(explain_settings(error)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="darefine")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def main(verbose: bool) -> None:
    """Whole-slide segmentation with DA-RefineNet. For research; not a medical device."""
    require_known_variables(os.environ)
    tune_openmp_wait()
    settings = LogSettings()
    configure_logging(logging.DEBUG if verbose else settings.log_level, settings.log_format)
