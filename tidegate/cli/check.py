"""check: what would become of a file, with nothing running."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate.cli.output import (
    QUARANTINED,
    Output,
    OutputOption,
    console,
    explained,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from tidegate.contracts import Contract
    from tidegate.operations.check import Verdict


@explained
def check(
    file: Annotated[Path, typer.Argument(help="The file, compressed or not.")],
    contract: Annotated[
        str | None,
        typer.Option(help="A dataset, or a contract's .py file. Without it: the one whose keys match."),
    ] = None,
    accepted: Annotated[
        Path | None, typer.Option(help="Write the accepted rows to this .csv or .parquet file.")
    ] = None,
    rejected: Annotated[
        Path | None, typer.Option(help="Write the rejected records, with reasons, to this .csv file.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rejections to print.")] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a file against its data contract. Needs nothing running, and loads nothing.

    [dim]Example:[/dim]  tidegate check orders-2026-01.csv --contract orders --rejected refused.csv

    Exit code 3 when rows, or the whole file, would be refused.
    """
    from tidegate.operations.check import check as operation

    verdict = operation(file, _contract(file, contract))
    if accepted is not None:
        _write_accepted(verdict, accepted)
    if rejected is not None:
        _write_rejected(verdict, rejected)
    if output is Output.JSON:
        print_json(verdict.report | {"rejections": verdict.rejected.head(limit).to_dicts()})
    else:
        _print(verdict, limit)
    if not verdict.ok:
        raise typer.Exit(QUARANTINED)


def _contract(file: Path, named: str | None) -> Contract:
    from tidegate.contracts.pandera_start import import_pandera_alone
    from tidegate.contracts.registry import load_contract, load_registry, source_files
    from tidegate.operations.check import find_contract

    if named is not None and named.endswith(".py"):
        import_pandera_alone([Path(named)])
        return load_contract(Path(named))
    from tidegate.settings import load_settings

    settings = load_settings()
    import_pandera_alone(source_files(settings.contracts, settings.root))
    registry = load_registry(settings.contracts, settings.root)
    return registry[named] if named is not None else find_contract(file, registry)


def _write_accepted(verdict: Verdict, target: Path) -> None:
    rows = verdict.accepted.drop("_record", "_line")
    if target.suffix == ".parquet":
        rows.write_parquet(target)
    else:
        rows.write_csv(target)


def _write_rejected(verdict: Verdict, target: Path) -> None:
    from tidegate.quarantine.rejected import RejectedFile

    with RejectedFile(target) as out:
        out.write_frame(verdict.rejected)


def _print(verdict: Verdict, limit: int) -> None:
    report, out = verdict.report, console()
    shown = verdict.rejected.head(limit)
    if shown.height:
        print_table(
            ("line", "record", "column", "rule", "what is wrong"),
            shown.select("line", "record", "column", "rule", "message").rows(),
        )
        if verdict.rejected.height > limit:
            out.print(f"… and {verdict.rejected.height - limit:,} more reasons.")
    counts = ", ".join(f"{count:,} {kind}" for kind, count in report["lines"].items())
    out.print(
        f"{report['rows_read']:,} rows read: {report['rows_accepted']:,} accepted, "
        f"{report['rows_rejected']:,} rejected under {report['dataset']} {report['contract_version']}"
        f" (lines: {counts or 'none'}).",
        soft_wrap=True,
    )
    if report["reason"]:
        out.print(f"The whole file would be held: {report['reason']}", soft_wrap=True)
