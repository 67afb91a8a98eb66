"""A hundred thousand virtual devices under the real state machine and cohort function: what is halted, and when.

    .venv/bin/python benchmarks/rollout.py [--seeds 200] [--first-seed 1000] [--devices 100000] [--processes 2]

The plan is that of params.yaml. One device in five is mostly offline, online every twenty days by chance; the others
every day by chance. A device takes the version at its first contact after it was offered it, watches it for 14
mornings, and is heard of at contacts alone. Of all devices, with whatever version, 0.3 % go back for reasons of their
own and 0.05 % are never heard again. A bad version misbehaves on 3 of 100 soils: of the devices there 80 % notice and
go back by themselves after 2 to 10 mornings, 10 % confirm it with abstentions beyond the limit, 5 % hang for ten days,
and 5 % show nothing at all. What is written is how often, of so many seeds, a good version is halted and a bad one is
not, with Wilson bounds. The plan was chosen on the seeds 0 to 199; what is measured is on seeds that nobody chose by.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.common.bars import machine as this_machine  # noqa: E402
from benchmarks.common.bars import print_bars  # noqa: E402
from fieldedge.transfer.cohort import cohort_share  # noqa: E402
from fieldloop.core.params import RolloutParams  # noqa: E402
from fieldloop.rollout.evidence import DAY_S, NEVER, Observed, Outcome, count  # noqa: E402
from fieldloop.rollout.machine import begin, changed, decide  # noqa: E402
from fieldloop.rollout.statistics import wilson_bounds  # noqa: E402
from fieldloop.workloads import load_params  # noqa: E402

Floats = npt.NDArray[np.float64]

RESULT = ROOT / "benchmarks" / "results" / "rollout.json"
FIRST_SEED = 1000
BEGAN = datetime(2027, 4, 1, tzinfo=UTC)
LOOKS_A_DAY = 4
MOSTLY_OFFLINE, OFFLINE_GAP_D, ONLINE_GAP_D = 0.20, 20.0, 1.0
WATCH_D, NOTICED_D, HANG_D = 14.0, (2.0, 10.0), 10.0
OF_ITSELF_PCT, DEAD_PCT = 0.30, 0.05
SOILS = 100
GIVEN_UP_D = 200.0  # a rollout that has neither ended nor gone on by then is held for a person


@dataclass(frozen=True)
class Version:
    """A version as the fleet meets it."""

    name: str
    bad_soils: int = 0
    of_itself_pct: float = OF_ITSELF_PCT


VERSIONS = (
    Version("good"),
    Version("good, as many failing as is acceptable", of_itself_pct=0.45),  # and 0.05 that are never heard again
    Version("bad on 2 soils of 100", bad_soils=2),
    Version("bad on 3 soils of 100", bad_soils=3),
    Version("bad on 10 soils of 100", bad_soils=10),
)


@dataclass(frozen=True)
class Lived:
    """What came of one rollout. Shares in per cent; days since it began, or since it was halted."""

    phase: str
    halted_at_pct: float | None  # the stage in which it was halted
    ended_d: float
    had_it_pct: float  # of the whole fleet, ever
    reachable_pct: float  # of the devices that are not mostly offline, in the planned time
    since_online_pct: float  # of the devices that were online since they were offered it
    affected: int
    are_all_back: bool
    back_median_d: float
    back_95_d: float
    back_last_d: float


class Fleet:
    """The devices of one seed, in the order of the rollout."""

    def __init__(self, devices: int, seed: int) -> None:
        salt = f"{seed:016x}"
        share = np.fromiter((cohort_share(f"dev-{number:06}", salt) for number in range(devices)), np.float64, devices)
        order = np.argsort(share)
        self.salt, self.share = salt, share[order]
        random = np.random.default_rng([seed, 1])
        self.is_offline = random.random(devices) < MOSTLY_OFFLINE
        self.gap_d = np.where(self.is_offline, OFFLINE_GAP_D, ONLINE_GAP_D)
        self.soil = random.integers(0, SOILS, devices)
        seen = 365.0 / self.gap_d  # the longest of so many silences of the year before
        self.longest_gap_s = -self.gap_d * np.log1p(-(random.random(devices) ** (1.0 / seen))) * DAY_S


class Life:
    """What happens on each device with one version; in days since the rollout began, `NEVER` where it does not."""

    def __init__(self, fleet: Fleet, version: Version, seed: int) -> None:
        devices = len(fleet.share)
        self._fleet, self._random = fleet, np.random.default_rng([seed, 2])
        self.offered = 0
        self.installed_d, self.said_d, self.told_d = (np.full(devices, NEVER) for _ in range(3))
        self.back_d = np.full(devices, NEVER)  # on the former model again, by itself
        self.outcome = np.full(devices, Outcome.CONFIRMED, np.int8)
        self.is_affected = fleet.soil < version.bad_soils
        draw, way = self._random.random(devices), self._random.random(devices)
        self.is_dead = draw < DEAD_PCT / 100.0
        self.goes_back = ~self.is_dead & (draw < (DEAD_PCT + version.of_itself_pct) / 100.0)
        self.goes_back |= self.is_affected & ~self.is_dead & (way < 0.80)
        self.abstains = self.is_affected & ~self.goes_back & (way < 0.90)
        self.hangs = self.is_affected & ~self.goes_back & ~self.abstains & (way < 0.95)

    def offer(self, percentage: float, now_d: float) -> None:
        """Let the devices below this share take the version from now on."""
        fleet, new = self._fleet, slice(self.offered, int(np.searchsorted(self._fleet.share, percentage)))
        self.offered = new.stop
        gap_d, size = fleet.gap_d[new], new.stop - new.start
        installed_d = now_d + self._wait(gap_d)
        said_d = installed_d + self._wait(gap_d)
        noticed_d = installed_d + self._random.uniform(*NOTICED_D, size)
        ends_d = np.where(self.goes_back[new], noticed_d, installed_d + WATCH_D)
        told_d = np.maximum(ends_d, said_d) + self._wait(gap_d)
        late_d = installed_d + HANG_D + self._wait(gap_d)
        told_d = np.where(self.hangs[new], np.maximum(told_d, late_d), told_d)
        dead = self.is_dead[new]
        self.installed_d[new] = installed_d
        self.said_d[new] = np.where(dead & (said_d > installed_d + NOTICED_D[0]), NEVER, said_d)
        self.told_d[new] = np.where(dead, NEVER, told_d)
        self.back_d[new] = np.where(self.goes_back[new], noticed_d, NEVER)
        self.outcome[new] = np.where(self.goes_back[new], Outcome.REVERTED, self.outcome[new])
        self.outcome[new] = np.where(self.abstains[new], Outcome.ABSTAINS, self.outcome[new])

    def observed(self, now_d: float) -> Observed:
        """What the cloud knows of the devices that were offered it."""
        seen = slice(0, self.offered)
        outcome = np.where(self.told_d[seen] <= now_d, self.outcome[seen], np.int8(Outcome.PENDING))
        outcome = np.where(self.said_d[seen] <= now_d, outcome, np.int8(Outcome.NONE)).astype(np.int8)
        online_s = (BEGAN.timestamp() + self.installed_d[seen] * DAY_S).astype(np.float64)
        said_s = BEGAN.timestamp() + self.said_d[seen] * DAY_S
        return Observed(self._fleet.share[seen], online_s, online_s, said_s, self._fleet.longest_gap_s[seen], outcome)

    def withdraw(self, now_d: float) -> Floats:
        """When each affected device that had the version is back on the former one; days since the withdrawal."""
        had = self.installed_d <= now_d
        contact_d = now_d + self._wait(self._fleet.gap_d)
        contact_d = np.where(self.hangs, np.maximum(contact_d, self.installed_d + HANG_D), contact_d)
        back_d = np.minimum(self.back_d, contact_d)[had & self.is_affected & ~self.is_dead]
        return np.maximum(back_d - now_d, 0.0)

    def _wait(self, gap_d: Floats) -> Floats:
        """Until the next contact."""
        return self._random.exponential(gap_d)


def lived(fleet: Fleet, version: Version, seed: int, plan: RolloutParams) -> Lived:
    """One rollout from its beginning to its end, looked at every few hours by the real state machine."""
    life = Life(fleet, version, seed)
    state = replace(begin("agriculture", "12", 1, fleet.salt, plan, BEGAN, "a person", ""), is_applied=True)
    life.offer(state.percentage, 0.0)
    planned_d, now_d, halted_at = sum(stage.soak_d for stage in plan.stages), 0.0, None
    while state.is_open and now_d < GIVEN_UP_D:
        now_d += 1.0 / LOOKS_A_DAY
        now = BEGAN + timedelta(days=now_d)
        evidence = count(life.observed(now_d), state.percentage, now.timestamp(), plan)
        after = changed(state, decide(state, evidence, now), now)
        if after.percentage > state.percentage:
            life.offer(after.percentage, now_d)
        halted_at = state.percentage if after.phase == "halted" else halted_at
        state = after
    is_halted = state.phase == "halted"
    has_it = life.installed_d <= (now_d if is_halted else planned_d)
    was_online = life.installed_d < NEVER
    back_d = life.withdraw(now_d) if is_halted else np.array([])
    median, most, last = (float(np.quantile(back_d, share)) if len(back_d) else 0.0 for share in (0.5, 0.95, 1.0))
    return Lived(
        phase=state.phase if not state.is_open else "held",
        halted_at_pct=halted_at,
        ended_d=now_d,
        had_it_pct=100.0 * float((life.installed_d <= now_d).mean()),
        reachable_pct=100.0 * float(has_it[~fleet.is_offline].mean()),
        since_online_pct=100.0 * float(has_it[was_online & (life.installed_d <= planned_d)].mean())
        if not is_halted
        else 0.0,
        affected=int((life.is_affected & (life.installed_d <= now_d)).sum()),
        are_all_back=bool(np.isfinite(back_d).all()),
        back_median_d=median,
        back_95_d=most,
        back_last_d=last,
    )


def seed_lived(job: tuple[int, int, dict[str, Any]]) -> list[Lived]:
    """Every version under one seed; the fleet and its order are the same for all."""
    seed, devices, plan = job
    fleet = Fleet(devices, seed)
    return [lived(fleet, version, seed, RolloutParams.model_validate(plan)) for version in VERSIONS]


def summary(runs: Sequence[Lived]) -> dict[str, Any]:
    """The figures of one version over all seeds."""
    halted = [run for run in runs if run.phase == "halted"]
    finished = sum(run.phase == "finished" for run in runs)
    low, high = wilson_bounds(len(halted), len(runs), 0.95)
    figures: dict[str, Any] = {
        "seeds": len(runs),
        "halted": len(halted),
        "finished": finished,
        "held_for_a_person": len(runs) - len(halted) - finished,
        "halted_pct": [100.0 * value for value in (len(halted) / len(runs), low, high)],
        "halted_in_first_stage": sum(run.halted_at_pct == min(_percentages(halted)) for run in halted),
        "had_it_pct_median_max": _spread([run.had_it_pct for run in runs]),
        "ended_d_median_max": _spread([run.ended_d for run in runs]),
        "reachable_in_planned_time_pct_median_min": _spread([run.reachable_pct for run in runs], at=0.0),
        "in_planned_time": sum(run.reachable_pct >= 95.0 for run in runs),
    }
    if halted:
        figures["affected_devices_median_max"] = _spread([float(run.affected) for run in halted])
        figures["all_affected_back"] = sum(run.are_all_back for run in halted)
        for name in ("back_median_d", "back_95_d", "back_last_d"):
            figures[f"{name}_median_max"] = _spread([getattr(run, name) for run in halted])
    return figures


def _percentages(runs: Sequence[Lived]) -> list[float]:
    return [run.halted_at_pct for run in runs if run.halted_at_pct is not None] or [0.0]


def _spread(values: Sequence[float], at: float = 1.0) -> list[float]:
    return [round(float(np.quantile(values, share)), 3) for share in (0.5, at)]


def bars_of(found: Mapping[str, Mapping[str, Any]], plan: RolloutParams) -> list[dict[str, Any]]:
    """What was asked for, and what came of it."""
    good, edge, bad = (found[VERSIONS[number].name] for number in (0, 1, 3))
    risk = 100.0 * plan.false_halt_risk
    missed = bad["seeds"] - bad["halted"]
    return [
        _bar("bad on 3 of 100 soils: most of the fleet that ever had it, %", bad["had_it_pct_median_max"][1], 2.0),
        _bar(
            "bad on 3 of 100 soils: missed halts, of all seeds, %",
            100.0 * missed / bad["seeds"],
            100.0 * plan.missed_halt_risk,
        ),
        _bar(
            "bad on 3 of 100 soils: halted with affected devices that stay, seeds",
            bad["halted"] - bad.get("all_affected_back", 0),
            0,
        ),
        _bar("good: false halts, of all seeds, %", good["halted_pct"][0], risk),
        _bar("good at the limit: false halts, of all seeds, %", edge["halted_pct"][0], risk),
        _bar(
            "good: reachable devices that have it in the planned time, median of the seeds, %",
            good["reachable_in_planned_time_pct_median_min"][0],
            95.0,
            at_least=True,
        ),
        _bar(
            "good: seeds in which 95 % of the reachable devices have it in the planned time, %",
            100.0 * good["in_planned_time"] / good["seeds"],
            99.0,
            at_least=True,
        ),
    ]


def _bar(what: str, found: float, limit: float, at_least: bool = False) -> dict[str, Any]:
    is_met = found >= limit if at_least else found <= limit
    return {"bar": what, "measured": found, "limit": limit, "is_met": bool(is_met)}


def main() -> int:
    """Run, print the table, write the JSON; 1 where a bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=200)
    arguments.add_argument("--first-seed", type=int, default=FIRST_SEED)
    arguments.add_argument("--devices", type=int, default=100_000)
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--out", type=Path, default=RESULT)
    options = arguments.parse_args()
    plan = load_params(ROOT, "agriculture").rollout
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    jobs = [(seed, options.devices, plan.model_dump(mode="json")) for seed in seeds]
    started_s = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        runs = pool.map(seed_lived, jobs, chunksize=1)
    found = {version.name: summary([lives[number] for lives in runs]) for number, version in enumerate(VERSIONS)}
    bars = bars_of(found, plan)
    document = {
        "devices": options.devices,
        "seeds": [seeds.start, seeds.stop - 1],
        "plan": plan.model_dump(mode="json"),
        "planned_d": sum(stage.soak_d for stage in plan.stages),
        "fleet": {"mostly_offline": MOSTLY_OFFLINE, "offline_gap_d": OFFLINE_GAP_D, "online_gap_d": ONLINE_GAP_D},
        "versions": [asdict(version) for version in VERSIONS],
        "found": found,
        "bars": bars,
        "seconds": round(time.perf_counter() - started_s, 1),
        "machine": this_machine(),
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print_table(found)
    print_bars(bars)
    return int(not all(bar["is_met"] for bar in bars))


def print_table(found: Mapping[str, Mapping[str, Any]]) -> None:
    """One line for each version."""
    print(f"{'version':<42}{'halted, % (95 %)':>24}{'held':>6}{'had it, %':>16}{'ended, days':>14}{'back, days':>22}")
    print(f"{'':<42}{'':>24}{'':>6}{'median / most':>16}{'median':>14}{'median / 95 % / last':>22}")
    for name, figures in found.items():
        share, low, high = figures["halted_pct"]
        had, most = figures["had_it_pct_median_max"]
        back = [figures.get(f"back_{which}_d_median_max", [0.0])[0] for which in ("median", "95", "last")]
        print(
            f"{name:<42}{f'{share:.1f} ({low:.1f} to {high:.1f})':>24}{figures['held_for_a_person']:>6}"
            f"{f'{had:.2f} / {most:.2f}':>16}{figures['ended_d_median_max'][0]:>14.1f}"
            f"{' / '.join(f'{value:.1f}' for value in back) if figures['halted'] else '-':>22}"
        )


if __name__ == "__main__":
    sys.exit(main())
