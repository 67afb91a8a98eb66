"""The command line of the cloud side: stages that DVC runs, and the servers behind `make ui`.

The loop itself is a Prefect flow: `python -m flows.season`.
"""

import getpass
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from fieldedge.system.errors import ConfigError, DataError, FieldloopError
from fieldloop.core import environment
from fieldloop.core.console import bar
from fieldloop.core.paths import BRIEF_S
from fieldloop.core.settings import load_settings, only_workload

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
quarantine = typer.Typer(no_args_is_help=True, help="Batches that were refused whole, and what becomes of them.")
app.add_typer(quarantine, name="quarantine")
Workload = Annotated[str, typer.Option(help="the block of params.yaml; where there is one, that one")]


@app.callback()
def _about() -> None:
    """Train in the cloud, decide in the field, learn from every season."""


@app.command()
def history(workload: Workload = "") -> None:
    """Simulate the sample world's past seasons into data/history (run it through `dvc repro history`)."""
    from fieldloop.workloads import known_workload, load_params

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    source = known_workload(workload).source(load_params(settings.root, workload))
    with bar("field-seasons") as on_progress:
        source.history(settings.data_dir / "history", settings.worker_count, on_progress)


@app.command("import")
def import_records(
    folder: Annotated[Path, typer.Argument(help="CSV or Parquet files named by table: fields.csv, readings-2019.csv")],
    workload: Workload = "",
) -> None:
    """Take a company's own records into the accepted data: judged row by row, each once, whatever is done again.

    Columns bear the contract's names and units; `fieldloop contract` shows them.
    """
    from fieldloop.core.paths import held
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.ingest.imports import import_folder
    from fieldloop.stages.access import new_loop, open_accepted, ownership_of
    from fieldloop.workloads import load_params

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    with held(settings.home_dir, "import"):
        loop = new_loop(settings, workload, load_params(settings.root, workload))
        docs = loop.workspace.data_docs / "import"
        devices = DeviceRegistry(loop.workspace.device_registry).public_keys()
        ownership = replace(ownership_of(loop), devices=frozenset(devices))
        found = import_folder(folder.resolve(), open_accepted(loop), ownership, date.today(), docs)
    for name, table in found.tables.items():
        typer.echo(f"{name}: {table.accepted} rows accepted, {table.known} known, {table.quarantined} quarantined")
        for words, count in table.broken.items():
            typer.echo(f"  {count} rows: {words}")
    if any(table.quarantined for table in found.tables.values()):
        typer.echo(f"what was quarantined, each row with its reason: {found.quarantine}; as a page: {found.docs_index}")
    typer.echo("the next run learns from what was accepted")


@app.command("contract")
def show_contract(workload: Workload = "") -> None:
    """The tables and columns in which records are taken in: names, kinds, units and ranges."""
    from fieldedge.workloads import known_workload

    for table in known_workload(workload or only_workload(load_settings().root)).contract.tables:
        typer.echo(f"{table.name}")
        for column in table.columns:
            span = "" if column.minimum is None else f" {column.minimum:g} to {column.maximum:g}"
            one_of = f": {', '.join(column.choices)}" if column.choices else ""
            may = ", may be empty" if column.is_nullable else ""
            typer.echo(f"  {column.name:<24} {column.kind}{span} {column.unit}".rstrip() + one_of + may)


@app.command("compile")
def compile_simulator() -> None:
    """Compile what each workload compiles for this machine (done by `make setup`; else at first use)."""
    from fieldloop.workloads import known_workload, workload_names

    for name in workload_names():
        known_workload(name).compile()


@app.command()
def ingest_stick(
    stick: Annotated[Path, typer.Argument(help="where the stick is mounted")],
) -> None:
    """Take a device's batches from a USB stick into the inbox; write acknowledgements and the release onto it."""
    from fieldedge.transfer.usb import Stick
    from fieldloop.core.paths import workspace_of
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.gateway.inbox import Inbox
    from fieldloop.gateway.usb import ingest_stick as ingest
    from fieldloop.release import ReleaseRepository

    workspace = workspace_of(load_settings())
    if not workspace.tuf.is_dir():
        raise ConfigError(f"{workspace.tuf} is not there: publish a release before a stick is taken in")
    registry = DeviceRegistry(workspace.device_registry)
    taken = ingest(Stick(stick), Inbox(workspace.inbox), registry, ReleaseRepository(workspace.tuf), datetime.now(UTC))
    typer.echo(f"{taken.new} new batches and {taken.known} known ones of {len(taken.held)} devices are in the inbox")
    for name in taken.missing:
        typer.echo(f"missing: {name} stands in its device's manifest, and not on the stick")
    if taken.refused:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in taken.refused.items())
        raise DataError(f"{len(taken.refused)} files were refused and stay on the stick: {reasons}")


@app.command()
def register_device(
    device_id: Annotated[str, typer.Argument(help="as `fieldedge init` was told")],
    public_key: Annotated[str, typer.Argument(help="as `fieldedge init` printed it: 64 hex digits")],
    field: Annotated[
        list[str] | None,
        typer.Option(help="a field that the device speaks for (champion-00), or one season of it (2006/champion-00)"),
    ] = None,
    instead_of: Annotated[str | None, typer.Option(help="the device from which the fields are taken")] = None,
) -> None:
    """Let a device send: the gateway and `ingest-stick` take batches of registered devices alone.

    With --field, what is accepted of the field from now on comes from this device; a season that a stranger claimed
    goes to quarantine once this one sends it. What the device before it (--instead-of) was accepted for stays, but for
    a season that is named: what another has in that goes to quarantine with the next ingestion, and what this device
    has sent of it comes in. Naming the other one again turns that back.
    """
    from fieldloop.core.paths import workspace_of
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.gateway.owners import FieldOwners

    registry = DeviceRegistry(workspace_of(load_settings()).device_registry)
    owners, fields = FieldOwners.beside(registry.path), dict.fromkeys(field or (), device_id)
    registry.check({device_id: public_key})
    owners.check(fields, instead_of)  # all of it before a word is written
    registry.register({device_id: public_key})
    owners.register(fields, instead_of)
    typer.echo(f"{device_id} may send; {len(registry.public_keys())} devices are registered in {registry.path}")
    if field:
        typer.echo(f"it speaks for {', '.join(field)}")


@app.command()
def return_to_history(
    season: Annotated[list[str], typer.Argument(help="seasons of fields: 2006/champion-00")],
    instead_of: Annotated[str, typer.Option(help="the device that has them now, if any is registered")] = "",
) -> None:
    """Let what was imported of a season stand for it, and no device.

    With the next `retrain`, or when it is imported again, what the history had comes back, and what a device had there
    goes to quarantine. `register-device --field` with the season turns that back.
    """
    from fieldloop.core.paths import workspace_of
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.gateway.owners import SEASON_OF_FIELD, FieldOwners
    from fieldloop.validation.ownership import HISTORY

    if strange := [name for name in season if not SEASON_OF_FIELD.fullmatch(name)]:
        raise ConfigError(f"{', '.join(strange)} names no season of a field; expected one like 2006/champion-00")
    registry = DeviceRegistry(workspace_of(load_settings()).device_registry)
    FieldOwners.beside(registry.path).register(dict.fromkeys(season, HISTORY), instead_of or None)
    typer.echo(f"what was imported stands for {', '.join(season)}")


@quarantine.command("list")
def list_refused() -> None:
    """The batches that were refused whole, and why. They count as not home until somebody decides."""
    from fieldloop.core.paths import workspace_of
    from fieldloop.ingest.refusals import Refusals

    found = list(Refusals(workspace_of(load_settings()).quarantine).undecided())
    for batch in found:
        season = "an unknown season" if batch.season is None else f"season {batch.season}"
        typer.echo(f"{batch.name}: {len(batch.record_ids) + batch.unnamed} records of {season}: {batch.reason}")
    typer.echo(f"{len(found)} refused batches wait for a decision: fieldloop quarantine release or discard")


@quarantine.command()
def release(batch: Annotated[str, typer.Argument(help="its name, or how it begins")]) -> None:
    """Let a refused batch be judged again by the next ingestion: after a key was registered, or a fault mended."""
    from fieldloop.core.paths import workspace_of
    from fieldloop.gateway.inbox import Inbox
    from fieldloop.ingest.refusals import Refusals

    space = workspace_of(load_settings())
    refusals = Refusals(space.quarantine)
    name = refusals.find(batch)
    refusals.release(name, Inbox(space.inbox))
    typer.echo(f"{name} is in the inbox, and is judged again with the next ingestion")


@quarantine.command()
def discard(batch: Annotated[str, typer.Argument(help="its name, or how it begins")]) -> None:
    """Set a refused batch aside for good: it is kept, and counts as missing no more."""
    from fieldloop.core.paths import workspace_of
    from fieldloop.ingest.refusals import Refusals

    refusals = Refusals(workspace_of(load_settings()).quarantine)
    name = refusals.find(batch)
    kept = refusals.discard(name, datetime.now(UTC).isoformat(timespec="seconds"))
    typer.echo(f"{name} counts as missing no more; it is kept as {kept}")


@app.command()
def migrate(workload: Workload = "") -> None:
    """Rewrite accepted data of a former contract as today's, after a version of it as it was. Every run does this."""
    from fieldedge.workloads import known_workload
    from fieldloop.core.paths import held, workspace_of
    from fieldloop.data import SeasonStore
    from fieldloop.data import migrate as migrate_store

    settings = load_settings()
    space = workspace_of(settings)
    with held(settings.home_dir, "migrate"):
        contract = known_workload(workload or only_workload(settings.root)).contract
        store = SeasonStore(space.seasons, contract, space.quarantine)
        done = migrate_store(settings.root, store, settings.is_deployment)
    if done is None:
        typer.echo(f"{space.seasons} is of today's contract; there is nothing to do")
    else:
        typer.echo(f"{done.files} files were of the contract {done.former[:12]}…; as they were: {done.pointer}")


@app.command()
def clean() -> None:
    """Delete what the next run makes again: caches, Data Docs, the report. Data, devices, keys and models stay."""
    from fieldloop.core.paths import held, workspace_of

    settings = load_settings()
    with held(settings.home_dir, "clean"):
        gone = workspace_of(settings).forget_caches()
    typer.echo(f"deleted: {', '.join(path.name for path in gone) or 'nothing'}")


@app.command()
def reset_sample() -> None:
    """Begin the sample world anew: other devices on the same fields. All that was accepted, sent or learned stays."""
    from fieldloop.core.paths import held, workspace_of

    settings = load_settings()
    with held(settings.home_dir, "reset-sample"):
        sample = workspace_of(settings).sample
        former = sample.begin_anew()
    if former is None:
        typer.echo("the sample world has not begun; `make season` begins it")
    else:
        typer.echo(f"world {sample.number} begins with the next `make season`; the one before stays in {former}")


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Make this clone as new: its data, keys, models and devices are set aside in a folder, after a question."""
    from fieldloop.core.paths import held, workspace_of

    settings = load_settings()
    workspace = workspace_of(settings)
    kept = workspace.kept()
    if not kept:
        typer.echo(f"there is nothing to set aside in {settings.home_dir}")
        return
    typer.echo("This clone begins anew. What cannot be made again and is set aside:")
    for words, count in kept.items():
        typer.echo(f"  {count:>6} {words}")
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is there to be asked; say `fieldloop reset --yes` if all of this is to go")
        typer.confirm("Devices in the field then no longer know this clone. Set all of it aside?", abort=True)
    with held(settings.home_dir, "reset"):
        target = workspace.set_aside(f"before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    typer.echo(f"set aside in {target}; move it back, or delete it yourself")


@app.command()
def promote(
    workload: Annotated[str, typer.Argument(help="the block of params.yaml")],
    version: Annotated[str, typer.Argument(help="of the model, as MLflow and `retrain` name it")],
    why: Annotated[str, typer.Option(prompt="Why is it promoted", help="what it was tried on, and what came of it")],
    by: Annotated[str, typer.Option(help="who decides; the user of this machine where left out")] = "",
    anchor: Annotated[bool, typer.Option(help="later models are compared with it, though another erred less")] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, help="how long to wait for a run of this clone that is about to end, seconds")
    ] = BRIEF_S,
) -> None:
    """Make a model version the champion that the next release ships; who, when and why are kept on the version.

    A run of this clone compares, registers and releases by what the registry says: while one is under way nothing is
    promoted.
    """
    from fieldedge.workloads import known_workload as workload_of_device
    from fieldloop.core.paths import held, workspace_of
    from fieldloop.workloads import load_params

    settings = load_settings()
    load_params(settings.root, workload)
    if not why.strip():
        raise ConfigError("a promotion needs a reason: --why 'what it was tried on, and what came of it'")
    contract = workload_of_device(workload).contract
    who = by.strip() or getpass.getuser()

    def on_wait(holder: str) -> None:
        typer.echo(f"waiting for {holder}, to end ({wait_s:g} s at most) ...", err=True)

    with held(settings.home_dir, "promote", is_brief=True, wait_s=wait_s, on_wait=on_wait):
        kept = workspace_of(settings).mlflow
        if not settings.mlflow_uri and not (kept / "mlflow.db").is_file():
            raise ConfigError(f"{kept} has no models yet: run `retrain` first, or set FIELDLOOP_MLFLOW_URI")
        # Seconds, which nobody waits who is refused.
        from fieldloop.registry.model_registry import ModelRegistry, store_failures_told
        from fieldloop.workloads import known_workload

        now = datetime.now(UTC)
        with store_failures_told("FIELDLOOP_MLFLOW_URI" if settings.mlflow_uri else f"{kept / 'mlflow.db'}"):
            registry = ModelRegistry(settings.tracking_uri, known_workload(workload))
            promoted = registry.promote(version, contract.hash, len(contract.features), who, why.strip(), now, anchor)
    typer.echo(f"version {promoted.version} of {workload} is the champion; {promoted.reason}")
    typer.echo("`retrain` releases it to the devices")


@app.command()
def ui() -> None:
    """Serve Prefect, MLflow, Data Docs and the report on this machine until Ctrl-C."""
    from fieldloop.ui import serve_ui

    serve_ui(load_settings())


def main() -> None:
    """Run a command; what is wrong is said in one line."""
    try:
        environment.settle(load_settings().home_dir)
        app()
    except FieldloopError as error:
        sys.stderr.write(f"fieldloop: {error}\n")
        sys.exit(1)
    except OSError as error:
        sys.stderr.write(
            f"fieldloop: {error}. See that FIELDLOOP_HOME names a folder of this user, that nothing else lies where a "
            "file or folder belongs, and that the disk has room\n"
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
