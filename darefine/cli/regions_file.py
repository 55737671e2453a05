"""Option of a file with the regions that slides are limited to."""

import json
from pathlib import Path
from typing import Any

import click

REGIONS_HELP = "Label only inside these: GeoJSON, or rectangles with their unit. See docs/where-to-look.md."


class RegionsFile(click.ParamType[Any]):
    """A JSON file, read when the command line is; what it must hold is for whoever runs the job to say."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the file."""
        try:
            return json.loads(Path(str(value)).read_bytes())
        except (OSError, ValueError) as error:
            self.fail(f"{value} cannot be read as JSON: {error}", param, ctx)


regions_option = click.option("--regions", type=RegionsFile(), help=REGIONS_HELP)
