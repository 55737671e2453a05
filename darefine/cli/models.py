"""Command `darefine models`: the networks of the paper's tables, or the models of a service."""

import dataclasses
import json
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from model.card import ModelCard
from model.network.flops import COUNTED_SIDE_PX, network_cost
from model.network.zoo import NETWORKS, NamedNetwork

from .connect import url_option
from .model_files import check, export
from .quantise import quantise
from .served_models import list_served

SIDE_NOTE = (
    f"Slice and context of {COUNTED_SIDE_PX} x {COUNTED_SIDE_PX} px: the paper's 500, to a multiple of 32."
)


@click.group(invoke_without_command=True)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, with each configuration and the paper's scores."
)
@click.option("--card-schema", is_flag=True, help="Print the JSON Schema of model cards instead.")
@click.option("--served", is_flag=True, help="List the models that the service at --url has instead.")
@url_option
@click.pass_context
def models(context: click.Context, *, as_json: bool, card_schema: bool, served: bool, url: str) -> None:
    """List the networks of the paper's tables: size beside the paper's, and arithmetic.

    Sizes are of float32 parameters with four classes. A slice's GFLOP do not hold its context's, which is
    encoded once for all slices of a patch.
    """
    if context.invoked_subcommand is not None:
        return
    if card_schema:
        click.echo(json.dumps(ModelCard.json_schema(), indent=1))
        return
    if served:
        list_served(url, as_json=as_json)
        return
    rows = [row_of(name, network) for name, network in NETWORKS.items()]
    if as_json:
        click.echo(json.dumps({"side_px": COUNTED_SIDE_PX, "networks": rows}, indent=1))
    else:
        Console().print(table_of(rows))


models.add_command(check)
models.add_command(export)
models.add_command(quantise)


def row_of(name: str, network: NamedNetwork) -> dict[str, Any]:
    """Return one network as JSON values; `difference_percent` is our size against the paper's."""
    cost = network_cost(network.config)
    paper_mb = network.paper_mb
    return {
        "name": name,
        "config": dataclasses.asdict(network.config),
        "context": network.context,
        "parameters": cost.parameters,
        "fp32_mb": round(cost.fp32_mb, 1),
        "paper_mb": paper_mb,
        "difference_percent": None if paper_mb is None else round(100 * (cost.fp32_mb / paper_mb - 1), 1),
        "slice_gflop": round(cost.slice_gflop, 1),
        "context_gflop": None if cost.context_gflop is None else round(cost.context_gflop, 1),
        "paper_scores": None if network.paper_scores is None else dataclasses.asdict(network.paper_scores),
        "note": network.note,
    }


def table_of(rows: list[dict[str, Any]]) -> Table:
    """Return the table of the rows for a terminal; notes stand below."""
    numbers = ("parameters", "fp32 MB", "paper MB", "differs", "GFLOP slice", "GFLOP context")
    table = Table(
        Column("name", no_wrap=True),
        *(Column(heading, justify="right") for heading in numbers),
        caption="\n".join(
            [
                SIDE_NOTE,
                *(f"{row['name']}: {row['note']}." for row in rows if row["note"]),
            ]
        ),
        caption_justify="left",
    )
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['fp32_mb']:.0f}",
            shown(row["paper_mb"], "{}"),
            shown(row["difference_percent"], "{} %"),
            shown(row["slice_gflop"], "{:.0f}"),
            shown(row["context_gflop"], "{:.0f}"),
        )
    return table


def shown(value: float | None, form: str) -> str:
    """Format the value of a cell; None gives an empty one."""
    return "" if value is None else form.format(value)
