"""The ``fastrec`` command: every call, its exit code, and errors in one sentence.

Exit codes: 0 done, 1 a stage or a picture failed, 2 the call was wrong, 130 and 143 interrupted;
`fastrec serve` ends with 0 at SIGTERM, which is how a service is stopped.
Heavy modules are imported inside the commands, so that ``fastrec --help`` answers at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastrec.files import FastrecError
from fastrec.pipeline.interruption import Interrupted

if TYPE_CHECKING:
    from fastrec.pipeline.standing import Standing
    from fastrec.run import Run

app = typer.Typer(
    name="fastrec", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
_debug = False

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """From a folder of pictures to a deployed, watched classifier, in seven notebooks."""
    global _debug  # noqa: PLW0603  the one switch of the whole process
    _debug = debug


@app.command()
def run(
    config: Annotated[str | None, typer.Argument(help="A YAML file, or the name of one in configs/.")] = None,
    *,
    name: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="The run's name; alone, continues it.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STAGE.PARAMETER=VALUE", help="Set a parameter; may be repeated."),
    ] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="The first stage to run.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="STAGE", help="The last stage to run.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run unchanged stages too.")] = False,
) -> None:
    """Run the notebooks in order; unchanged stages are skipped, a killed run continues."""
    from fastrec.pipeline.flow import run_stages, select
    from fastrec.pipeline.settings import settle

    stages = select(first, last)
    settings = settle(config, name, assignments or ())
    typer.echo(run_stages(settings, stages, force))


@app.command()
def stages() -> None:
    """List every stage with its parameters, their defaults and help."""
    from fastrec.artefacts import STAGES
    from fastrec.pipeline.parameters import RUN_NAME, read_parameters

    rows = [
        (f"{stage}.{each.name}", each.annotation, repr(each.default), each.help)
        for stage in STAGES
        for each in read_parameters(stage).values()
        if each.name != RUN_NAME
    ]
    _table(("parameter", "type", "default", "help"), rows)


@app.command()
def models(
    pattern: Annotated[str | None, typer.Argument(help="Names to list, such as 'resnet*'.")] = None,
    size: Annotated[int, typer.Option("--size", min=8, max=2048, help="Side of the pictures in pixels.")] = 32,
) -> None:
    """Compare a short list of architectures on this machine; with a pattern, list all names that fit it."""
    from fastrec.train import architectures, choosing

    if pattern is None:
        found = choosing.readable(choosing.table(size))
        _table(list(found.columns), found.to_numpy().tolist())
        return
    names = architectures.architecture_names(pattern)
    if not names:
        architectures.check_name(pattern)
    typer.echo("\n".join(names))


@app.command()
def status(name: RunName) -> None:
    """Show what is done, stale, interrupted or failed, and what would run next."""
    from fastrec.pipeline.settings import recorded
    from fastrec.pipeline.standing import standings

    found = standings(recorded(_begun(name)))
    _table(("stage", "state", "seconds", "when", "why"), [_status_row(standing) for standing in found])
    typer.echo(_next(name, found))


def _status_row(standing: Standing) -> tuple[str, ...]:
    record = standing.record
    seconds = f"{record.seconds:.1f}" if record and record.state == "done" else ""
    when = record.started[:16].replace("T", " ") if record else ""
    why = "" if standing.reasons == (standing.state,) else "; ".join(standing.reasons)
    return standing.stage, standing.state, seconds, when, why


def _next(name: str, found: Sequence[Standing]) -> str:
    waiting = [standing.stage for standing in found if standing.state != "done"]
    if not waiting:
        return "next: nothing to do, every stage is up to date"
    if any(standing.state == "running" for standing in found):
        return "next: wait, another process runs a stage of this run"
    later = [standing.stage for standing in found]
    return f"next: `fastrec run --run {name}` would run {', '.join(later[later.index(waiting[0]) :])}"


@app.command()
def report(name: RunName) -> None:
    """Render reports/RUN/ again."""
    from fastrec.report.pages import render_run

    typer.echo(render_run(_begun(name)))


@app.command()
def compare(names: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help="Two or more runs.")]) -> None:
    """Render one page with several runs side by side."""
    from fastrec.pipeline.parameters import CallError
    from fastrec.report.pages import render_compare

    if len(set(names)) < 2:
        raise CallError("a comparison needs two different runs: name them both.")
    typer.echo(render_compare([_begun(name) for name in dict.fromkeys(names)]))


@app.command()
def predict(
    name: RunName,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Pictures, or folders of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Name what is on pictures, one line each; a refused picture is a line too, and exit code 1."""
    from fastrec.deploy.command import answers, line
    from fastrec.deploy.predictor import Predictor

    count = refused = 0
    for entry in answers(Predictor(_package(name)), paths):
        count += 1
        refused += "code" in entry
        typer.echo(line(entry, as_json))
    if not count:
        raise FastrecError(f"{paths[0]} holds no pictures: name files or another folder.")
    if refused:
        raise typer.Exit(1)


@app.command()
def serve(
    name: RunName,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port to listen on.")] = 8000,
) -> None:
    """Serve the run's package with its page, and log every answer for the monitor stage."""
    from fastrec.deploy.service import serve as serve_package
    from fastrec.monitor.log import default_url

    # the service catches the signal, answers what is in flight, and then raises it anew: that is its regular end
    before = signal.signal(signal.SIGTERM, _ended_well)
    try:
        serve_package(_package(name), host, port, default_url(_begun(name)))
    finally:
        signal.signal(signal.SIGTERM, before)


def _ended_well(_number: int, _frame: FrameType | None) -> None:
    raise typer.Exit(0)


@app.command()
def promote(name: RunName, bundle: Annotated[str, typer.Argument(help="Such as 04_tune/best.")]) -> None:
    """Put another bundle of the run into its package; `fastrec rollback` takes it back."""
    from fastrec.deploy import promotion

    typer.echo(promotion.promote(_begun(name), bundle))


@app.command()
def rollback(name: RunName) -> None:
    """Put the bundle that served before back into the run's package."""
    from fastrec.deploy import promotion

    typer.echo(promotion.rollback(_begun(name)))


@app.command()
def doctor() -> None:
    """Look at versions, devices and surroundings; name the command that mends what is missing."""
    from fastrec.doctor import examine

    findings = list(examine())
    _table(("what", "state", "found", "cure"), [(each.name, each.state, each.found, each.cure) for each in findings])
    if any(each.state == "missing" for each in findings):
        raise typer.Exit(1)


def _begun(name: str) -> Run:
    """Return a run that has begun, or refuse the call and name those there are."""
    from fastrec.pipeline.parameters import CallError
    from fastrec.pipeline.settings import open_run

    opened = open_run(name)
    if not opened.folder.is_dir():
        known = ", ".join(sorted(path.name for path in opened.folder.parent.glob("*") if path.is_dir())) or "none"
        raise CallError(f"run {name!r} is not there (there are: {known}): `fastrec run --run {name}` begins it.")
    return opened


def _package(name: str) -> Path:
    from fastrec.artefacts import PACKAGE

    return Path(_begun(name).read(PACKAGE))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal, aligned by blanks elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*header, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app(args=arguments)
    except (FastrecError, Interrupted) as error:
        _end(error, str(error), getattr(error, "exit_code", 1))
    except Exception as error:
        reason = " ".join(str(error).split())
        _end(error, f"unexpected {type(error).__name__} ({reason}): run again with `fastrec --debug` to see where.", 1)


def _end(error: BaseException, sentence: Any, code: int) -> None:
    if _debug:
        raise error
    typer.echo(f"fastrec: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
