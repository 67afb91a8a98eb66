"""The command line of the cloud side: what a person or DVC asks for by hand, from `import` to `ui`.

The loop itself is a Prefect flow: `python -m flows`.
"""

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fieldedge.system.errors import ConfigError, DataError, FieldloopError
from fieldloop.commands import device, gateway, keys, rollout
from fieldloop.commands import release as releases
from fieldloop.core import process_setup
from fieldloop.core.clone_lock import BRIEF_S
from fieldloop.core.console import bar
from fieldloop.core.params import only_workload
from fieldloop.core.settings import load_settings
from fieldloop.core.stored_names import FIRST_RUN, PERIOD

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
quarantine = typer.Typer(no_args_is_help=True, help="Batches that were refused whole, and what becomes of them.")
app.add_typer(quarantine, name="quarantine")
app.add_typer(rollout.app, name="rollout")
app.add_typer(keys.app, name="keys")
app.add_typer(gateway.app, name="gateway")
app.add_typer(device.app, name="device")
app.add_typer(releases.app, name="release")
Workload = Annotated[str, typer.Option(help="the block of params.yaml; where there is one, that one")]


@app.callback(help=f"Train in the cloud, decide in the field, learn from every {PERIOD}.")
def _about() -> None: ...


@app.command()
def history(workload: Workload = "") -> None:
    """Simulate the sample world's past periods into data/history (run it through `dvc repro history`)."""
    from fieldloop.workloads import known_workload, load_params

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    known = known_workload(workload)
    source = known.source(load_params(settings.root, workload))
    with bar(known.card.groups) as on_progress:
        source.history(settings.data_dir / "history", settings.worker_count, on_progress)


@app.command("import")
def import_records(
    folder: Annotated[Path, typer.Argument(help="CSV or Parquet files named by table: fields.csv, readings-2019.csv")],
    workload: Workload = "",
) -> None:
    """Take a company's own records into the accepted data: judged row by row, each once, whatever is done again.

    Columns bear the contract's names and units; `fieldloop contract` shows them.
    """
    from fieldloop.core.clone_lock import held
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.ingest.imports import import_folder
    from fieldloop.stages.access import open_accepted, ownership_of
    from fieldloop.stages.context import today_utc
    from fieldloop.stages.opening import new_loop
    from fieldloop.workloads import load_params

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    with held(settings.home_dir, "import"):
        loop = new_loop(settings, workload, load_params(settings.root, workload))
        docs = loop.paths.data_docs / "import"
        devices = DeviceRegistry(loop.paths.device_registry).public_keys()
        found = import_folder(folder.resolve(), open_accepted(loop), ownership_of(loop, devices), today_utc(), docs)
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


@app.command("ingest-stick", hidden=True)  # what it was called before
@app.command()
def ingest_usb(
    stick: Annotated[Path, typer.Argument(help="where the stick is mounted")],
) -> None:
    """Take a device's batches from a USB stick into the inbox; write acknowledgements and the release onto it."""
    from fieldedge.transfer.usb import UsbStick
    from fieldloop.core.paths import paths_of
    from fieldloop.gateway.enrolment import registry_in_use
    from fieldloop.gateway.inbox import Inbox
    from fieldloop.gateway.reports import Reports
    from fieldloop.gateway.usb import ingest_usb as ingest
    from fieldloop.release import ReleaseRepository

    settings = load_settings()
    paths = paths_of(settings)
    if not paths.tuf.is_dir():
        raise ConfigError(f"{paths.tuf} is not there: publish a release before a stick is taken in")
    registry = registry_in_use(settings, paths)
    taken = ingest(
        UsbStick(stick),
        Inbox(paths.inbox),
        registry,
        ReleaseRepository(paths.tuf),
        datetime.now(UTC),
        Reports(paths.reports),
    )
    typer.echo(f"{taken.new} new batches and {taken.known} known ones of {len(taken.held)} devices are in the inbox")
    if taken.reports:
        typer.echo(f"{sum(map(len, taken.reports.values()))} reports of {len(taken.reports)} devices' models are kept")
    for name in taken.missing:
        typer.echo(f"missing: {name} stands in its device's manifest, and not on the stick")
    if taken.refused:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in taken.refused.items())
        raise DataError(f"{len(taken.refused)} files were refused and stay on the stick: {reasons}")


@app.command()
def register_device(
    device_id: Annotated[str, typer.Argument(help="as `fieldedge init` was told")],
    public_key: Annotated[str, typer.Argument(help="as `fieldedge init` printed it: 64 hex digits")],
    unit: Annotated[
        list[str] | None,
        typer.Option(
            "--unit",
            "--field",  # what it was called before
            help="a unit that the device speaks for (unit-07), or one period of it (2006/unit-07)",
        ),
    ] = None,
    instead_of: Annotated[str | None, typer.Option(help="the device from which the units are taken")] = None,
) -> None:
    """Let a device send: the gateway and `ingest-usb` take batches of registered devices alone.

    With --unit, what is accepted of the unit from now on comes from this device; a period that a stranger claimed
    goes to quarantine once this one sends it. What the device before it (--instead-of) was accepted for stays, but for
    a period that is named: what another has in that goes to quarantine with the next ingestion, and what this device
    has sent of it comes in. Naming the other one again turns that back.
    """
    from fieldloop.core.paths import paths_of
    from fieldloop.gateway.enrolment import registry_in_use
    from fieldloop.gateway.owners import UnitOwners

    settings = load_settings()
    registry = registry_in_use(settings, paths_of(settings))
    owners, units = UnitOwners.beside(registry.path), dict.fromkeys(unit or (), device_id)
    registry.check({device_id: public_key})
    owners.check(units, instead_of)  # all of it before a word is written
    registry.register({device_id: public_key})
    owners.register(units, instead_of)
    typer.echo(f"{device_id} may send; {len(registry.public_keys())} devices are registered in {registry.path}")
    if unit:
        typer.echo(f"it speaks for {', '.join(unit)}")


@app.command()
def return_to_history(
    episode: Annotated[list[str], typer.Argument(metavar="PERIOD/UNIT", help="periods of units: 2006/unit-07")],
    instead_of: Annotated[str, typer.Option(help="the device that has them now, if any is registered")] = "",
) -> None:
    """Let what was imported of a period stand for it, and no device.

    With the next `retrain`, or when it is imported again, what the history had comes back, and what a device had there
    goes to quarantine. `register-device --unit` with the period turns that back.
    """
    from fieldloop.core.paths import paths_of
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.gateway.owners import EPISODE_NAME, UnitOwners
    from fieldloop.validation.ownership import HISTORY

    if strange := [name for name in episode if not EPISODE_NAME.fullmatch(name)]:
        raise ConfigError(f"{', '.join(strange)} names no period of a unit; expected one like 2006/unit-07")
    registry = DeviceRegistry(paths_of(load_settings()).device_registry)
    UnitOwners.beside(registry.path).register(dict.fromkeys(episode, HISTORY), instead_of or None)
    typer.echo(f"what was imported stands for {', '.join(episode)}")


@quarantine.command("list")
def list_refused() -> None:
    """The batches that were refused whole, and why. They count as not home until somebody decides."""
    from fieldloop.core.paths import paths_of
    from fieldloop.ingest.refusals import Refusals

    found = list(Refusals(paths_of(load_settings()).quarantine).undecided())
    for batch in found:
        period = "an unknown period" if batch.period is None else f"period {batch.period}"
        typer.echo(f"{batch.name}: {len(batch.record_ids) + batch.unnamed} records of {period}: {batch.reason}")
    typer.echo(f"{len(found)} refused batches wait for a decision: fieldloop quarantine release or discard")


@quarantine.command()
def release(batch: Annotated[str, typer.Argument(help="its name, or how it begins")]) -> None:
    """Let a refused batch be judged again by the next ingestion: after a key was registered, or a fault mended."""
    from fieldloop.core.paths import paths_of
    from fieldloop.gateway.inbox import Inbox
    from fieldloop.ingest.refusals import Refusals

    paths = paths_of(load_settings())
    refusals = Refusals(paths.quarantine)
    name = refusals.find(batch)
    refusals.release(name, Inbox(paths.inbox))
    typer.echo(f"{name} is in the inbox, and is judged again with the next ingestion")


@quarantine.command()
def discard(batch: Annotated[str, typer.Argument(help="its name, or how it begins")]) -> None:
    """Set a refused batch aside for good: it is kept, and counts as missing no more."""
    from fieldloop.core.paths import paths_of
    from fieldloop.ingest.refusals import Refusals

    refusals = Refusals(paths_of(load_settings()).quarantine)
    name = refusals.find(batch)
    kept = refusals.discard(name, datetime.now(UTC).isoformat(timespec="seconds"))
    typer.echo(f"{name} counts as missing no more; it is kept as {kept}")


@app.command()
def migrate(workload: Workload = "") -> None:
    """Rewrite accepted data of a former contract as today's, after a version of it as it was. Every run does this."""
    from fieldedge.workloads import known_workload
    from fieldloop.core.clone_lock import held
    from fieldloop.core.paths import paths_of
    from fieldloop.data import AcceptedStore
    from fieldloop.data import migrate as migrate_store

    settings = load_settings()
    paths = paths_of(settings)
    with held(settings.home_dir, "migrate"):
        contract = known_workload(workload or only_workload(settings.root)).contract
        store = AcceptedStore(paths.accepted, contract, paths.quarantine)
        done = migrate_store(settings.root, store, settings.is_deployment)
    if done is None:
        typer.echo(f"{paths.accepted} is of today's contract; there is nothing to do")
    else:
        typer.echo(f"{done.files} files were of the contract {done.former[:12]}…; as they were: {done.pointer}")


@app.command()
def clean() -> None:
    """Delete what the next run makes again: caches, Data Docs, the report. Data, devices, keys and models stay."""
    from fieldloop.core.clone_lock import held
    from fieldloop.core.paths import paths_of

    settings = load_settings()
    with held(settings.home_dir, "clean"):
        gone = paths_of(settings).forget_caches()
    typer.echo(f"deleted: {', '.join(path.name for path in gone) or 'nothing'}")


@app.command()
def reset_sample() -> None:
    """Begin the sample world anew: other devices on the same fields. All that was accepted, sent or learned stays."""
    from fieldloop.core.clone_lock import held
    from fieldloop.core.paths import paths_of

    settings = load_settings()
    with held(settings.home_dir, "reset-sample"):
        sample = paths_of(settings).sample
        former = sample.begin_anew()
    if former is None:
        typer.echo(f"the sample world has not begun; `{FIRST_RUN}` begins it")
    else:
        typer.echo(f"world {sample.number} begins with the next `{FIRST_RUN}`; the one before stays in {former}")


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Make this clone as new: its data, keys, models and devices are set aside in a folder, after a question."""
    from fieldloop.core.clone_lock import held
    from fieldloop.core.paths import paths_of

    settings = load_settings()
    paths = paths_of(settings)
    kept = paths.kept()
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
        target = paths.set_aside(f"before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
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
    from fieldloop.core.clone_lock import held
    from fieldloop.core.paths import paths_of
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
        kept = paths_of(settings).mlflow
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
        process_setup.settle(load_settings().home_dir)
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
