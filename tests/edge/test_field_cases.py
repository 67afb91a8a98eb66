"""What loggers and networks in the world send is read rightly, or doubted and told. `field_cases/README.md` says how.

A case is a folder of data. It is lived through by the device's own commands and its real store; only the clock is the
case's.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fieldedge.commands.doctor
import fieldedge.diagnostics.release
from fieldedge.cli import main
from fieldedge.contract import Record
from fieldedge.contract.samples import FlaggedSample
from fieldedge.device.config import DeviceDirectory
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from tests.edge.farm import Farm
from tests.edge.sample import field_record

CASES = Path(__file__).parent / "field_cases"
OURS = ("case.toml", "device.toml")
SETTINGS = """
[site]
latitude_deg = -33.9
elevation_m = 65
[[source]]
name = "station"
kind = "folder"
path = "inbox"
"""
EVERYTHING = ("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z")
SETTLES = timedelta(minutes=3)


@pytest.fixture(autouse=True)
def quick_selftest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child process that tries the runtime is the doctor's own tests' matter."""
    monkeypatch.setattr(fieldedge.diagnostics.release, "run_selftest", lambda *_: (0, {"onnxruntime": "1.28.0"}))


class Lived:
    """A case that was lived through: what the device stored, and what its doctor says."""

    def __init__(self, folder: Path, case: Mapping[str, Any], device: DeviceDirectory) -> None:
        self.case, self.directory = case, device
        now, season = case["now"].astimezone(UTC), case.get("season", case["now"].year)
        every = [path.name for path in sorted(folder.iterdir()) if path.name not in OURS]
        arrivals = case.get("arrival", [{"at": now, "files": every}])
        settings = folder / "device.toml"
        text = settings.read_text() if settings.exists() else SETTINGS
        first = min(arrival["at"].astimezone(UTC) for arrival in arrivals)
        self.farm = Farm(device, first - SETTLES, f"{text}\n[page]\nis_on = false\n")
        self.farm.clock.is_synchronised = case.get("is_clock_set", True)
        if case.get("is_planted", True):
            (self.farm.inbox.parent / "field.jsonl").write_text(
                json.dumps({"kind": "field", "record": field_record(season)})
            )
            self.farm.service.agent.answer_line((self.farm.inbox.parent / "field.jsonl").read_text(), "field")
        for arrival in arrivals:
            self._pass_until(arrival["at"].astimezone(UTC) - SETTLES)
            for name in arrival["files"]:
                source, target = folder / name, device.root / arrival.get("into", f"inbox/{name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("ab") as stream:
                    stream.write(source.read_bytes())
            self._pass_until(arrival["at"].astimezone(UTC))
        self._pass_until(now)
        self.store: Store = self.farm.service.store

    def _pass_until(self, until: datetime) -> None:
        """Let time pass, with a few steps at its end: a file's last line settles in a minute or so."""
        begin = max(self.farm.clock.true, until - SETTLES)
        self.farm.clock.pass_(begin - self.farm.clock.true)
        while self.farm.clock.true < until:
            self.farm.step()

    @property
    def samples(self) -> list[FlaggedSample]:
        return self.store.samples(*EVERYTHING)

    def readings(self) -> dict[str, tuple[Record, Record]]:
        """Each day's reading and how it was measured."""
        found = {}
        for episode in self.store.episodes():
            flags = self.store.flags(episode, "readings")
            for row in self.store.records(episode, "readings"):
                found[row["date"]] = row, flags.get(row["record_id"], {})
        return found


def cases() -> list[Path]:
    return sorted(path.parent for path in CASES.rglob("case.toml"))


@pytest.fixture
def lived(request: pytest.FixtureRequest, device: DeviceDirectory) -> Iterator[Lived]:
    folder: Path = request.param
    lived = Lived(folder, tomllib.loads((folder / "case.toml").read_text()), device)
    yield lived
    lived.farm.close()


@pytest.mark.parametrize(
    "lived", [pytest.param(folder, id=str(folder.relative_to(CASES))) for folder in cases()], indirect=True
)
def test_a_field_case_is_read_rightly_or_doubted_and_told(
    lived: Lived, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected: Mapping[str, Any] = lived.case["expect"]
    unknown = expected.keys() - {
        "rejects", "rejected", "loggers", "events", "season", "readings", "flags", "values", "findings", "samples",
        "nothing_of",
    }  # fmt: skip
    assert not unknown, f"nobody looks at {unknown}"
    looked_at = [
        _rejects(lived.store, expected),
        _samples(lived.samples, expected),
        _readings(lived.readings(), expected.get("readings", ())),
        _events(lived.store, expected.get("events", ())),
        _findings(lived, expected.get("findings", ()), monkeypatch, capsys),
        _season(lived, expected),
    ]
    faults = [fault for of_one in looked_at for fault in of_one]
    assert not faults, f"{lived.case['kind']}: {lived.case['about']}\n" + "\n".join(faults)


def _rejects(store: Store, expected: Mapping[str, Any]) -> Iterator[str]:
    rejects = [reject["error"] for reject in store.rejects()]
    if not expected.get("rejected") and len(rejects) != expected.get("rejects", 0):
        yield f"{len(rejects)} rejects, expected {expected.get('rejects', 0)}: {rejects[:5]}"
    for said in expected.get("rejected", ()):
        if not any(said in reject for reject in rejects):
            yield f"no reject says {said!r}: {rejects[:5]}"


def _samples(samples: list[FlaggedSample], expected: Mapping[str, Any]) -> Iterator[str]:
    if "samples" in expected and len(samples) != expected["samples"]:
        yield f"{len(samples)} samples, expected {expected['samples']}"
    loggers = sorted({flagged.sample.origin for flagged in samples})
    if "loggers" in expected and loggers != sorted(expected["loggers"]):
        yield f"the loggers are {loggers}, expected {expected['loggers']}"
    for channel, flags in expected.get("flags", {}).items():
        counted = Counter(flagged.flags.get(channel, "good") for flagged in samples if channel in flagged.sample.values)
        if dict(counted) != flags:
            yield f"the flags of {channel} are {dict(counted)}, expected {flags}"
    for wanted in expected.get("values", ()):
        found = [
            flagged.sample.values
            for flagged in samples
            if flagged.sample.time_utc == wanted["time"] and wanted.get("logger") in (None, flagged.sample.origin)
        ]
        values = {name: value for name, value in wanted.items() if name not in ("time", "logger")}
        if not any(all(one.get(name) == pytest.approx(value) for name, value in values.items()) for one in found):
            yield f"at {wanted['time']} stands {found}, expected {values}"


def _readings(known: Mapping[str, tuple[Record, Record]], expected: list[Mapping[str, Any]]) -> Iterator[str]:
    for wanted in expected:
        day = str(wanted["date"])
        reading, flags = known.get(day, (None, {}))
        if wanted.get("absent", False):
            if reading is not None:
                yield f"{day} has the reading {reading}, expected none"
            continue
        if reading is None:
            yield f"{day} has no reading; there are {sorted(known)}"
            continue
        for name, value in wanted.items():
            if name in ("date", "how", "doubts"):
                continue
            if reading[name] != pytest.approx(value, abs=0.011 if name.endswith("_mm") else 1e-3):
                yield f"{day} has {name} {reading[name]}, expected {value}"
        if "how" in wanted and flags.get("et0") != wanted["how"]:
            yield f"ET0 of {day} is {flags.get('et0')}, expected {wanted['how']}"
        if "doubts" in wanted and sorted(flags.get("doubts", {})) != sorted(wanted["doubts"]):
            yield f"{day} doubts {flags.get('doubts', {})}, expected {wanted['doubts']}"


def _events(store: Store, expected: list[str]) -> Iterator[str]:
    events = store.events(500)
    for wanted in expected:
        kind, _, text = wanted.partition(": ")
        if not any(event["kind"] == kind and text in event["text"] for event in events):
            yield f"no event says {wanted!r}: {[(event['kind'], event['text']) for event in events][:8]}"


def _findings(
    lived: Lived,
    expected: list[Mapping[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[str]:
    clock = lived.farm.clock
    at = partial(Clock, wall=clock.wall, monotonic=clock.monotonic, is_synchronised=lambda: clock.is_synchronised)
    monkeypatch.setattr(fieldedge.commands.doctor, "Clock", at)
    capsys.readouterr()
    main(["doctor", "--dir", str(lived.directory.root), "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    for finding in findings:
        if "the check broke" in finding["found"]:
            yield f"{finding}"
    for check in lived.case["expect"].get("nothing_of", ()):
        if any(finding["check"] == check and finding["state"] != "ok" for finding in findings):
            yield f"the doctor says {[one for one in findings if one['check'] == check]}, expected nothing"
    for wanted in expected:
        of_check = [finding for finding in findings if finding["check"] == wanted["check"]]
        if not any(
            finding["state"] == wanted["state"]
            and all(said in f"{finding['found']} → {finding['todo']}" for said in wanted.get("says", ()))
            for finding in of_check
        ):
            yield f"the doctor says {of_check or [one['check'] for one in findings]}, expected {wanted}"


def _season(lived: Lived, expected: Mapping[str, Any]) -> Iterator[str]:
    if "season" in expected:
        lived.farm.reboot()
        context = lived.farm.service.agent.context
        if context is None or context["season"] != expected["season"]:
            yield f"after a restart the device is in {context and context['season']}, expected {expected['season']}"
