"""Versions of the accepted data, in real clones with real DVC."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from fieldedge.system.errors import ConfigError, DataError, StoreBusy
from fieldloop.core.git import git_commit
from fieldloop.data import AcceptedStore, check_last_version, is_kept, open_store, restore, snapshot
from fieldloop.versioning import locks
from fieldloop.versioning.pipeline import reproduce
from fieldloop.versioning.site_cache import SITE_CACHE
from tests.data.empty_clone import empty_clone, git
from tests.sample_season import CONTRACT, SEASON, field_row, frames

SEASONS = Path("data/seasons")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a project with the settings of ours, and one field's accepted season."""
    root = empty_clone(tmp_path / "clone", monkeypatch)
    add_field(root, 0)
    return root


def add_field(root: Path, number: int) -> None:
    store = AcceptedStore(root / SEASONS, CONTRACT)
    for table, rows in frames(field_row(number), days=3).items():
        store.accept(table, rows, "history")


def test_a_version_whose_tag_a_person_removed_does_not_stand(clone: Path) -> None:
    version = snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON)
    assert is_kept(clone, clone / SEASONS, version.data_hash, is_committed=True)
    git(clone, "tag", "-d", str(version.tag))
    assert not is_kept(clone, clone / SEASONS, version.data_hash, is_committed=True)
    assert snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON) == version
    assert is_kept(clone, clone / SEASONS, version.data_hash, is_committed=True)


def test_a_version_that_was_made_by_hand_is_committed_and_tagged_by_a_deployment(clone: Path) -> None:
    by_hand = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    deployed = snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON)
    assert (by_hand.data_hash, by_hand.committed) == (deployed.data_hash, False)
    assert (deployed.committed, deployed.tag) == (True, "season-2006")


@pytest.mark.parametrize("kind", ["shallow", "submodule"])
def test_a_clone_that_is_shallow_or_a_submodule_is_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = empty_clone(tmp_path / "origin", monkeypatch)
    (origin / "notes.txt").write_text("a second commit\n")
    git(origin, "add", "notes.txt")
    git(origin, "commit", "--quiet", "--message", "notes")
    root = tmp_path / "farm" / "loop"
    if kind == "shallow":
        git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", str(root))
    else:
        git(tmp_path, "init", "--quiet", str(root.parent))
        git(root.parent, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), "loop")
    git(root, "config", "user.name", "Station")
    git(root, "config", "user.email", "station@example.org")
    assert git_commit(root) == git(origin, "rev-parse", "HEAD")
    add_field(root, 0)
    version = snapshot(root, SEASONS, "data", is_deployment=True, period=SEASON)
    assert version.tag == "season-2006"
    assert is_kept(root, root / SEASONS, version.data_hash, is_committed=True)
    shutil.rmtree(root / SEASONS)
    assert restore(root, root / SEASONS)


def test_by_hand_the_pointer_is_left_uncommitted_and_the_note_says_how_to_keep_it(clone: Path) -> None:
    head = git(clone, "rev-parse", "HEAD")
    version = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    assert version.data_hash in (clone / "data/seasons.dvc").read_text()
    assert (version.committed, version.tag) == (False, None)
    assert "git add data/seasons.dvc" in version.note
    assert git(clone, "rev-parse", "HEAD") == head
    assert git(clone, "status", "--porcelain") == "?? data/seasons.dvc"


def test_the_hash_is_that_of_the_content(clone: Path) -> None:
    first = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    add_field(clone, 1)
    (clone / SEASONS / ".readings.parquet.77.tmp").write_bytes(b"half a file")
    second = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    again = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    assert first.data_hash != second.data_hash == again.data_hash


def test_a_deployment_commits_only_the_pointer_and_tags_the_season_once(clone: Path) -> None:
    (clone / "notes.txt").write_text("a person's own file")
    git(clone, "add", "notes.txt")
    version = snapshot(clone, SEASONS, "Season 2006", is_deployment=True, period=SEASON)
    again = snapshot(clone, SEASONS, "Season 2006", is_deployment=True, period=SEASON)
    assert version == again
    assert version.tag == "season-2006"
    assert git(clone, "show", "--format=%s", "--name-only", "HEAD").split("\n") == [
        "Season 2006",
        "",
        "data/seasons.dvc",
    ]
    assert version.data_hash in git(clone, "show", "season-2006:data/seasons.dvc")
    assert git(clone, "status", "--porcelain") == "A  notes.txt"


def test_late_data_of_a_season_gets_a_tag_of_its_own_and_the_first_one_stays(clone: Path) -> None:
    first = snapshot(clone, SEASONS, "Season 2006", is_deployment=True, period=SEASON)
    add_field(clone, 1)
    late = snapshot(clone, SEASONS, "Late data", is_deployment=True, period=SEASON)
    assert late.tag == "season-2006.2"
    assert first.data_hash in git(clone, "show", "season-2006:data/seasons.dvc")


def test_a_persons_tag_of_that_name_is_told_before_anything_is_committed(clone: Path) -> None:
    git(clone, "tag", "season-2006")
    head = git(clone, "rev-parse", "HEAD")
    for _ in range(2):
        with pytest.raises(DataError, match="git tag my-season-2006 season-2006 && git tag -d season-2006"):
            snapshot(clone, SEASONS, "Season 2006", is_deployment=True, period=SEASON)
    assert git(clone, "rev-parse", "HEAD") == head
    git(clone, "tag", "my-season-2006", "season-2006")
    git(clone, "tag", "-d", "season-2006")
    assert snapshot(clone, SEASONS, "Season 2006", is_deployment=True, period=SEASON).tag == "season-2006"


def test_a_pointer_that_is_a_folder_is_told(clone: Path) -> None:
    (clone / "data" / "seasons.dvc").mkdir()
    with pytest.raises(DataError, match=r"seasons\.dvc is no file; expected DVC's pointer"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    with pytest.raises(DataError, match="is no file"):
        check_last_version(clone, clone / SEASONS)
    with pytest.raises(DataError, match="is no file"):
        restore(clone, clone / SEASONS)


def test_a_deployment_without_a_name_for_git_is_told_what_to_set(clone: Path) -> None:
    for name in ("user.name", "user.email"):
        git(clone, "config", "--unset", name)
    git(clone, "config", "user.useConfigOnly", "true")
    with pytest.raises(ConfigError, match=r"config user\.name"):
        snapshot(clone, SEASONS, "Season 2006", is_deployment=True, period=SEASON)


def test_an_unpacked_archive_without_git_still_gets_its_hash(clone: Path) -> None:
    with_git = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    (clone / ".git").rename(clone.parent / "git-taken-away")
    without = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    assert without.data_hash == with_git.data_hash


def test_no_data_and_no_project_are_said_by_name(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no accepted data yet"):
        snapshot(clone, Path("data/history"), "data", is_deployment=False, period=SEASON)
    (tmp_path / "elsewhere" / "seasons").mkdir(parents=True)
    (tmp_path / "elsewhere" / "seasons" / "x.parquet").touch()
    with pytest.raises(ConfigError, match=r"no \.dvc folder"):
        snapshot(tmp_path / "elsewhere", Path("seasons"), "data", is_deployment=False, period=SEASON)


@pytest.mark.parametrize("left_behind", ["", '{"write": {"', "killed"])
def test_what_a_killed_dvc_left_behind_is_cleared(clone: Path, left_behind: str) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    if left_behind == "killed":
        owner = {"pid": dead.pid, "cmd": "dvc add data/seasons"}
        left_behind = json.dumps({"write": {str(clone / SEASONS): owner}, "read": {}})
    (clone / ".dvc/tmp").mkdir()
    (clone / ".dvc/tmp/rwlock").write_text(left_behind)
    assert snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON).data_hash


def test_a_live_dvc_is_not_disturbed_and_is_named(clone: Path) -> None:
    owner = {"pid": os.getppid(), "cmd": "dvc push"}
    (clone / ".dvc/tmp").mkdir()
    (clone / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(clone / SEASONS): owner}, "read": {}}))
    with pytest.raises(StoreBusy, match="dvc push"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)


def test_two_of_ours_take_turns(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT_S", 0.0)
    (clone / ".dvc/tmp").mkdir()
    with FileLock(clone / ".dvc/tmp/fieldloop.lock"), pytest.raises(StoreBusy, match="another process"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)


def add_stage(clone: Path, command: str) -> None:
    (clone / "code" / "__pycache__").mkdir(parents=True)
    (clone / "code" / "stage.py").write_text(command)
    (clone / "dvc.yaml").write_text(
        "stages: {history: {cmd: python code/stage.py, deps: [code], outs: [{data/history: {persist: true}}]}}"
    )


@pytest.mark.slow
def test_a_stage_runs_once_and_again_only_when_what_it_depends_on_changed(clone: Path) -> None:
    add_stage(
        clone,
        "import pathlib, sys; d = pathlib.Path('data/history'); d.mkdir(exist_ok=True);"
        "(d / 'a').write_text('1'); print('simulated by', sys.prefix)",
    )
    said: list[str] = []
    assert reproduce(clone, "history", said.append).has_run
    assert said == [f"simulated by {sys.prefix}"]
    (clone / "code" / "__pycache__" / "stage.cpython-311.pyc").write_bytes(b"compiled meanwhile")
    assert not reproduce(clone, "history", said.append).has_run
    assert len(said) == 1


@pytest.mark.slow
def test_a_stage_that_fails_says_its_own_last_words(clone: Path) -> None:
    add_stage(clone, "raise SystemExit('the climate file is missing')")
    with pytest.raises(DataError, match=r"(?s)stage history .*dvc\.yaml failed.*the climate file is missing"):
        reproduce(clone, "history", [].append)


def test_accepted_data_that_was_deleted_comes_back_from_its_last_version(clone: Path) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    before = {path.name: path.read_bytes() for path in (clone / SEASONS).rglob("*.parquet")}
    shutil.rmtree(clone / SEASONS)
    assert restore(clone, clone / SEASONS)
    assert {path.name: path.read_bytes() for path in (clone / SEASONS).rglob("*.parquet")} == before


def test_there_is_nothing_to_restore_before_the_first_version(clone: Path) -> None:
    assert not restore(clone, clone / SEASONS)


def test_a_version_that_lacks_accepted_files_of_the_last_one_is_not_made(clone: Path) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON)
    head, pointer = git(clone, "rev-parse", "HEAD"), (clone / "data/seasons.dvc").read_text()
    (gone,) = (clone / SEASONS).rglob("harvests.parquet")
    gone.unlink()
    name = str(gone.relative_to(clone / SEASONS))

    told = rf"lacks 1 files .*{name}.* dvc checkout data/seasons\.dvc"
    with pytest.raises(DataError, match=told):
        check_last_version(clone, clone / SEASONS)
    with pytest.raises(DataError, match=told):
        snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON)

    assert (git(clone, "rev-parse", "HEAD"), (clone / "data/seasons.dvc").read_text()) == (head, pointer)
    add_field(clone, 0)
    add_field(clone, 1)  # more than before is what a version is for
    check_last_version(clone, clone / SEASONS)
    assert snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON).committed


def test_without_a_version_nothing_is_missing(clone: Path) -> None:
    check_last_version(clone, clone / SEASONS)


def test_a_pointer_that_is_none_is_told_with_how_to_mend_it(clone: Path) -> None:
    (clone / "data/seasons.dvc").write_text("outs: 3\n")
    with pytest.raises(DataError, match=r"data/seasons\.dvc is not a pointer of DVC .* git checkout"):
        check_last_version(clone, clone / SEASONS)


def delete_rows(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(table.slice(0, 1), path)


def change_a_value(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    column = table.schema.get_field_index("record_id")
    names = pa.array([*table["record_id"].to_pylist()[:-1], "another"])
    pq.write_table(table.set_column(column, table.schema.field(column), names), path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [delete_rows, change_a_value, empty])
def test_a_version_in_which_an_accepted_row_is_gone_or_changed_is_not_made(
    clone: Path, harm: Callable[[Path], None]
) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON)
    pointer = (clone / "data/seasons.dvc").read_text()
    (path,) = (clone / SEASONS).rglob("readings.parquet")
    kept = path.read_bytes()
    harm(path)
    told = r"season=2006/region=champion/readings\.parquet .* dvc checkout --force data/seasons\.dvc"
    with pytest.raises(DataError, match=told):
        check_last_version(clone, clone / SEASONS)
    with pytest.raises(DataError, match=told):
        snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON)
    assert (clone / "data/seasons.dvc").read_text() == pointer
    path.write_bytes(kept)
    add_field(clone, 1)  # more rows in the same files
    check_last_version(clone, clone / SEASONS)
    assert snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON).committed


def test_a_batchs_note_may_be_added_to_and_not_emptied(clone: Path) -> None:
    store = AcceptedStore(clone / SEASONS, CONTRACT)
    store.note_batch("ab", {"device_id": "dev-00"}, {"readings": ["r1"]})
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    store.amend_note("ab", {"unnamed": 0})
    check_last_version(clone, clone / SEASONS)
    empty(clone / SEASONS / "batches" / "ab.records")
    with pytest.raises(DataError, match=r"batches/ab\.records"):
        check_last_version(clone, clone / SEASONS)


def test_rows_that_were_withdrawn_into_quarantine_are_not_lost(clone: Path) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    store = AcceptedStore(clone / SEASONS, CONTRACT)
    assert store.withdraw(SEASON, "champion-00", "another's") > 0
    assert snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON).data_hash


def test_a_withdrawn_row_excuses_no_row_of_another_that_has_the_same_id(clone: Path) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    store = AcceptedStore(clone / SEASONS, CONTRACT)
    store.withdraw(SEASON, "champion-00", "another's")
    for table, rows in frames(field_row(device_id="dev-17"), days=3).items():
        store.accept(table, rows, "sync")
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    check_lost_rows_are_told(clone)


def test_a_row_that_was_withdrawn_and_came_back_is_missed_when_it_is_lost(clone: Path) -> None:
    store = AcceptedStore(clone / SEASONS, CONTRACT)
    store.withdraw(SEASON, "champion-00", "another's")
    add_field(clone, 0)
    store.settle_withdrawn()
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    check_lost_rows_are_told(clone)


def check_lost_rows_are_told(clone: Path) -> None:
    (path,) = (clone / SEASONS).rglob("readings.parquet")
    delete_rows(path)
    with pytest.raises(DataError, match="rows of its last version"):
        check_last_version(clone, clone / SEASONS)


def test_what_came_back_in_part_is_in_quarantine_for_the_rest(clone: Path) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    store = AcceptedStore(clone / SEASONS, CONTRACT)
    withdrawn = store.withdraw(SEASON, "champion-00", "another's")
    some = {table: rows[:2] for table, rows in frames(field_row(0), days=3).items()}
    for table, rows in some.items():
        store.accept(table, rows, "sync")
    store.settle_withdrawn()
    store.settle_withdrawn()
    (left,) = store.quarantine_dir.glob("withdrawn-*/*.parquet")
    assert len(pd.read_parquet(left)) == withdrawn - sum(len(rows) for rows in some.values()) == 1
    check_last_version(clone, clone / SEASONS)


def under_a_later_contract(clone: Path) -> AcceptedStore:
    upgrades = {**CONTRACT.upgrades, CONTRACT.hash: lambda _, record: record}
    later = replace(CONTRACT, revision=CONTRACT.revision + 1, upgrades=upgrades)
    return open_store(clone, clone / SEASONS, later, clone / "data/quarantine", is_deployment=False)


def test_a_new_contract_and_a_withdrawal_go_together(clone: Path) -> None:
    add_field(clone, 1)
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    store = under_a_later_contract(clone)
    store.withdraw(SEASON, "champion-00", "another's")
    check_last_version(clone, clone / SEASONS)
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)


def test_a_new_contract_and_a_withdrawal_hide_no_loss(clone: Path) -> None:
    add_field(clone, 1)
    store = under_a_later_contract(clone)
    store.withdraw(SEASON, "champion-00", "another's")
    check_lost_rows_are_told(clone)


def test_rows_that_were_withdrawn_and_are_not_in_quarantine_are_lost(clone: Path) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    store = AcceptedStore(clone / SEASONS, CONTRACT)
    store.withdraw(SEASON, "champion-00", "another's")
    shutil.rmtree(store.quarantine_dir)
    with pytest.raises(DataError, match="rows of its last version"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)


def test_a_damaged_file_of_withdrawn_rows_is_named(clone: Path) -> None:
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    store = AcceptedStore(clone / SEASONS, CONTRACT)
    store.withdraw(SEASON, "champion-00", "another's")
    damaged = next(store.quarantine_dir.glob("withdrawn-*/*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(DataError, match=rf"{damaged.name}, which holds records that were taken back, .*backup"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)


def test_where_the_cache_is_gone_the_same_content_is_kept_again_and_another_is_refused(clone: Path) -> None:
    version = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    shutil.rmtree(clone / ".dvc/cache")
    assert not is_kept(clone, clone / SEASONS, version.data_hash)
    check_last_version(clone, clone / SEASONS)
    assert is_kept(clone, clone / SEASONS, version.data_hash)
    shutil.rmtree(clone / SEASONS)
    assert restore(clone, clone / SEASONS)

    shutil.rmtree(clone / ".dvc/cache")
    (gone,) = (clone / SEASONS).rglob("harvests.parquet")
    gone.unlink()
    told = rf"cannot be compared with its last version, {version.data_hash}, .* dvc pull data/seasons\.dvc"
    with pytest.raises(DataError, match=told):
        check_last_version(clone, clone / SEASONS)
    with pytest.raises(DataError, match=told):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", str(SEASONS)], cwd=clone, check=True)
    check_last_version(clone, clone / SEASONS)  # a person said that this is all


def test_one_file_that_the_cache_lost_is_kept_again_where_it_is_unchanged(clone: Path) -> None:
    version = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    (path,) = (clone / SEASONS).rglob("readings.parquet")
    digest = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - as DVC names content
    cached = clone / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    cached.chmod(0o644)
    cached.unlink()
    assert not is_kept(clone, clone / SEASONS, version.data_hash)
    check_last_version(clone, clone / SEASONS)
    assert is_kept(clone, clone / SEASONS, version.data_hash)
    cached.chmod(0o644)
    cached.unlink()
    delete_rows(path)
    with pytest.raises(DataError, match=r"readings\.parquet .* cannot be compared"):
        check_last_version(clone, clone / SEASONS)


def test_a_version_is_kept_while_the_pointer_names_it_and_the_cache_has_it(clone: Path) -> None:
    version = snapshot(clone, SEASONS, "data", is_deployment=True, period=SEASON)
    pointer = clone / "data/seasons.dvc"
    assert is_kept(clone, clone / SEASONS, version.data_hash, is_committed=True)
    assert not is_kept(clone, clone / SEASONS, "0" * 32 + ".dir")
    text = pointer.read_text()
    pointer.unlink()
    assert not is_kept(clone, clone / SEASONS, version.data_hash)
    pointer.write_text(text + "# changed\n")
    assert is_kept(clone, clone / SEASONS, version.data_hash)
    assert not is_kept(clone, clone / SEASONS, version.data_hash, is_committed=True)


def site_cache_by_hand(clone: Path) -> Path:
    """What `dvc` itself says, as a person runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "doctor"],
        cwd=clone,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Repo.site_cache_dir: "))
    return Path(line.partition(": ")[2])


def test_the_cache_of_pickles_is_private_to_the_clone_for_us_and_by_hand(clone: Path) -> None:
    previous = os.umask(0)
    try:
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    finally:
        os.umask(previous)
    own = clone / SITE_CACHE
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert any(own.rglob("*.db")), "the indexes are there"
    assert own in site_cache_by_hand(clone).parents
    assert git(clone, "status", "--porcelain") == "?? data/seasons.dvc"


def test_a_cache_that_others_can_write_is_not_read(clone: Path) -> None:
    (clone / SITE_CACHE).mkdir(parents=True)
    (clone / SITE_CACHE).chmod(0o777)
    with pytest.raises(ConfigError, match=r"site_cache can be written by others \(mode 777; expected 700\).*Remove"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    (clone / SITE_CACHE).rmdir()
    (clone / SITE_CACHE).symlink_to(clone.parent)
    with pytest.raises(ConfigError, match="site_cache is a link"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_cache_of_another_user_is_not_read(clone: Path) -> None:
    (clone / SITE_CACHE).mkdir(parents=True, mode=0o700)
    os.chown(clone / SITE_CACHE, 65534, -1)
    with pytest.raises(ConfigError, match=r"site_cache belongs to \w+, .* runs as root"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)


def test_what_a_person_chose_stays_when_it_is_private(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local, chosen = clone / ".dvc" / "config.local", clone.parent / "chosen"
    settings = f"# mine\n['remote \"store\"']\n    url = /srv/store\n[core]\n    site_cache_dir = {chosen}\n"
    local.write_text(settings)
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    assert local.read_text() == settings
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    chosen.chmod(0o770)
    with pytest.raises(ConfigError, match="chosen can be written by others"):
        snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(clone.parent / "by-environment"))
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    assert (clone.parent / "by-environment").is_dir()


def test_a_clone_that_moved_has_its_cache_in_it_again_and_other_settings_stay(clone: Path) -> None:
    local = clone / ".dvc" / "config.local"
    local.write_text("# mine\n['remote \"store\"']\n    url = /srv/store\n")
    local.chmod(0o640)
    snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    moved = clone.rename(clone.parent / "moved")
    snapshot(moved, SEASONS, "data", is_deployment=False, period=SEASON)
    assert moved / SITE_CACHE in site_cache_by_hand(moved).parents
    written = (moved / ".dvc" / "config.local").read_text()
    assert "# mine" in written
    assert "url = /srv/store" in written
    assert stat.S_IMODE((moved / ".dvc" / "config.local").stat().st_mode) == 0o640
