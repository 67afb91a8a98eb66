"""`fieldloop keys`: who signs releases; made, moved offline, rotated, revoked, and shown."""

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError, ReleaseError
from fieldloop.core.params import workloads_of
from fieldloop.core.paths import paths_of
from fieldloop.core.settings import load_settings

if TYPE_CHECKING:  # TUF, which no other command waits for
    from fieldloop.core.settings import Settings
    from fieldloop.release.key_changes import KeyChanges
    from fieldloop.release.keys import Secrets
    from fieldloop.release.metadata_store import MetadataStore

app = typer.Typer(no_args_is_help=True, help="The keys that sign releases: init, status, rotate, revoke, export-root.")
Keys = Annotated[list[Path] | None, typer.Option("--keys", help="a folder in which offline keys are now")]
Offline = Annotated[list[Path] | None, typer.Option("--offline", help="a folder on a medium that is put away after")]
Place = Annotated[Path | None, typer.Option("--folder", help="the medium for the new key, where another than before")]


@app.command()
def init(
    offline: Offline = None,
    keys: Annotated[int, typer.Option(min=1, help="how many root keys there are")] = 3,
    threshold: Annotated[int, typer.Option(min=1, help="how many of them must sign")] = 2,
) -> None:
    """Make or bring the keys to what a deployment should have: root 2 of 3 and targets offline, the others encrypted.

    Name a folder on each medium with --offline. Devices of a repository that is there already walk on.
    """
    settings, media = load_settings(), offline or []
    _check_init(settings, media, keys, threshold)
    changes = _changes([], is_first=True)
    done = changes.init(media, workloads_of(settings.root), keys, threshold)
    for words in done or ["nothing was to do"]:
        typer.echo(words)
    _show(changes)


@app.command()
def status() -> None:
    """Each role's keys: where they are, whether encrypted, until when what they signed stands, and what to do."""
    _show(_changes([]))


@app.command()
def refresh(keys: Keys = None) -> None:
    """Sign anew what has lived half its lifetime; that of offline keys where these are at hand."""
    store = _store(keys or [])
    with store.locked():
        store.renew(store.load(), is_asking=True)
    _show(_changes(keys or []))


@app.command()
def rotate(
    role: Annotated[str, typer.Argument(help="root, targets, snapshot, timestamp, acknowledgements, or a workload")],
    keys: Keys = None,
    folder: Place = None,
    uri: Annotated[str, typer.Option(help="a key on a token or in a key service: hsm:2?label=... awskms:...")] = "",
    public_key: Annotated[Path | None, typer.Option(help="its public half, PEM; a token says it itself")] = None,
) -> None:
    """Give a role another key; devices follow, however long they were off."""
    for keyid in _changes(keys or []).rotate(role, uri, public_key, folder):
        typer.echo(f"{role} is signed by {keyid}")


@app.command()
def revoke(
    keyid: Annotated[str, typer.Argument(help="as `keys status` shows it, or how it begins")],
    keys: Keys = None,
    folder: Place = None,
) -> None:
    """Trust a key no more, after it was stolen or lost; with one that is online go those of snapshot and timestamp."""
    roles = _changes(keys or []).revoke(keyid, folder)
    typer.echo(f"{keyid} is trusted no more; new keys: {', '.join(roles)}")


@app.command()
def export_root(
    to: Annotated[Path, typer.Argument(help="the file; a device is given it: fieldedge init --root")] = Path(
        "root.json"
    ),
) -> None:
    """Write the newest root, which new devices are provisioned with."""
    version, content = _changes([]).newest_root()
    write_durably(to, content)
    typer.echo(f"root version {version} is in {to}: fieldedge init --root {to}")


def _check_init(settings: "Settings", media: list[Path], keys: int, threshold: int) -> None:
    """See that keys can be made as asked, before a repository is begun for them."""
    from fieldloop.release import is_bare
    from fieldloop.release.key_changes import check_media

    if not media and settings.is_deployment and is_bare(paths_of(settings).tuf):
        raise ConfigError(
            "the keys of a deployment's root lie on media that are put away: name a folder on each, `fieldloop keys "
            f"init --offline MEDIUM --offline MEDIUM --offline MEDIUM`; {threshold} of {keys} must sign then"
        )
    if media:
        check_media(media, keys, threshold)
        _secrets().check_new(is_offline=True)
    _secrets().check_new(is_offline=False)


def _secrets() -> "Secrets":
    from fieldloop.release.keys import Secrets

    return Secrets(ask=(lambda what: getpass.getpass(f"The {what}: ")) if sys.stdin.isatty() else None)


def _store(elsewhere: list[Path], is_first: bool = False) -> "MetadataStore":
    from fieldloop.release.metadata_store import MetadataStore, is_begun

    paths = paths_of(load_settings())
    if not (is_first or is_begun(paths.tuf)):
        raise ReleaseError(f"{paths.tuf} has no keys yet: `fieldloop keys init` makes them")
    paths.tuf.parent.mkdir(parents=True, exist_ok=True)
    return MetadataStore(paths.tuf, lambda: datetime.now(UTC), _secrets(), elsewhere)


def _changes(elsewhere: list[Path], is_first: bool = False) -> "KeyChanges":
    from fieldloop.release.key_changes import KeyChanges

    return KeyChanges(_store(elsewhere, is_first))


def _show(changes: "KeyChanges") -> None:
    found = changes.status()
    for role in found.roles:
        due = ", due" if role.is_due else ""
        typer.echo(
            f"{role.role:<18} {role.threshold} of {len(role.keys)}  version {role.version}, "
            f"until {role.expires:%Y-%m-%d %H:%M} UTC{due}"
        )
        for keyid, kept in role.keys.items():
            how = "not here" if not kept.is_here else "encrypted" if kept.is_encrypted else "not encrypted"
            typer.echo(f"    {keyid[:16]}  {how}  {kept.place}")
    for words in found.advice:
        typer.echo(f"! {words}")
