"""The one way of files into the accepted data: a company's own records, and the sample world's past.

Every row is judged by the contract first; then it is asked whose its episode is. Files take what nobody has, and add
nothing to what another was accepted for or is registered for. What is refused is in quarantine with its reason before
the first good row is stored, and every step can be repeated. Reading a folder, and telling what came of it, is the
callers' (`imports.py`, `stages/validate.py`). Batches come in by `accept.py`: a device claims episodes while its rows
are judged, and a batch that cannot be judged may hold up no other.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from fieldedge.contract.reserved import EXPECTATION
from fieldloop.data.accepted import AcceptedStore
from fieldloop.data.withdrawn import withdrawn_episodes
from fieldloop.validation import Checked, Ownership, check_frames, quarantine_rows
from fieldloop.validation.ownership import HISTORY, EpisodeName, episode_of
from fieldloop.validation.tables import breach_words, lost_tables, refuse

ANOTHERS = "the {period} of the {unit} was accepted from, or is registered for, {other}: what is said of it is theirs"


@dataclass(frozen=True)
class TakenTable:
    """What became of one table's rows: new ones, ones that were accepted before, and ones that were set aside.

    `broken` counts by what each row broke, in plain words; `conflicts` by which accepted row it contradicts.
    `done_with` names, by the device that it is of (or a history), what is accepted by now or another's.
    """

    rows: int
    accepted: int
    known: int
    quarantined: int
    broken: Mapping[str, int]
    conflicts: Mapping[str, int]
    done_with: Mapping[str, list[str]]


@dataclass(frozen=True)
class Taken:
    """What came of a folder's rows, by table."""

    tables: Mapping[str, TakenTable]
    quarantine_files: tuple[Path, ...]
    docs_index: Path | None


def take_in(
    frames: Mapping[str, pd.DataFrame],
    store: AcceptedStore,
    ownership: Ownership,
    today: date,
    *,
    source: Path,
    came_with: str,
    docs_dir: Path | None = None,
    is_whole: bool = False,
) -> Taken:
    """Judge every row and accept the good ones. Doing it again accepts nothing twice.

    Args:
        frames: by table name; the contract's columns, and `origin`: the file that a row came from.
        store: what is accepted; another's rows and bad ones go to its quarantine.
        ownership: whose the episodes are, and which devices a row may name.
        today: the day in UTC, after which nothing may have been seen yet.
        source: the folder, for the words of a refusal.
        came_with: names the folder of quarantine.
        docs_dir: where Data Docs go; none are built without it.
        is_whole: whether the folder is all of a past, which is refused where a table has not one good row.

    Raises:
        DataError: so much of a file is out of range that the file is wrong rather than its rows. Nothing is accepted.
        StoreBusy: another process holds the store.
    """
    contract = store.contract
    context = contract.context_table.name
    opened = _without(store.read(context), ownership.returned())
    checked = check_frames(
        frames, contract, today, opened=opened, docs_dir=docs_dir, known_devices=ownership.known_devices
    )
    problems = [breach_words(breach) for breach in checked.breaches]
    refuse(source, problems or (lost_tables(checked) if is_whole else []))
    store.return_to_histories(ownership)
    said = Ownership.of({}, checked.accepted.get(context, opened.iloc[:0]), ()).holders
    others = _others(checked, ownership, withdrawn_episodes(store.quarantine_dir), said)
    rejected, words = {}, {}
    for name, good in checked.accepted.items():
        theirs = others[name].dropna()
        words[name] = theirs.map(lambda other: store.words.say(ANOTHERS, other=other or "a history"))
        rejected[name] = pd.concat(
            [checked.rejected[name], good.loc[theirs.index].assign(**{EXPECTATION: words[name]})]
        )
    # Bad rows first: once the good ones are stored, a crash may not lose the others' reasons.
    files = [
        quarantine_rows(store.quarantine_dir, came_with, contract.table(name), rows) for name, rows in rejected.items()
    ]
    tables = {}
    for name, good in checked.accepted.items():
        is_theirs = others[name].notna()
        outcome = store.accept(name, good[~is_theirs], came_with)
        files.append(outcome.quarantine_file)
        is_done = is_theirs | good["record_id"].isin(store.read(name)["record_id"])
        done_with: dict[str, list[str]] = {}
        for record_id in good.loc[is_done, "record_id"]:
            done_with.setdefault(said.get(episode_of(record_id), HISTORY), []).append(record_id)
        tables[name] = TakenTable(
            rows=checked.tables[name].rows,
            accepted=outcome.added,
            known=outcome.known,
            quarantined=len(rejected[name]) + outcome.conflicts,
            broken={**checked.tables[name].broken, **Counter(words[name])},
            conflicts=outcome.broken,
            done_with=done_with,
        )
    store.settle_withdrawn()
    return Taken(tables, tuple(path for path in files if path is not None), checked.docs_index)


def _without(opened: pd.DataFrame, returned: list[EpisodeName]) -> pd.DataFrame:
    """What is returned to a history opens no episode any more: the history's own row does."""
    stays = [episode_of(record_id) not in returned for record_id in opened["record_id"]]
    return opened[pd.Series(stays, opened.index, dtype=bool)]


def _others(
    checked: Checked, ownership: Ownership, withdrawn: frozenset[EpisodeName], said: Mapping[EpisodeName, str]
) -> dict[str, pd.Series]:
    """By table, who else has a good row's episode; missing where it is nobody's yet, or of whom the files say it is."""
    return {
        name: pd.Series(
            [
                ownership.another(said.get(episode, HISTORY), episode, withdrawn)
                for episode in map(episode_of, good["record_id"])
            ],
            good.index,
            dtype=object,
        )
        for name, good in checked.accepted.items()
    }
