"""What an adversary gets: every attack on the data, the devices and the releases, carried out on the real parts.

    .venv/bin/python benchmarks/adversary.py [--only MODULE [--renew]] [--line 19] [--quick]

The attacks stand in `benchmarks/attacks/`, a module a room. Each runs in a process of its own whose time and memory are
bounded and measured, those of its children too. Nothing may be accepted, nothing lost, and nothing hang. Part of a run
(`--only`, `--line`, `--quick`) is shown, and written nowhere; with `--renew` the attacks of a room take the place of
its former ones in the JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.attacks import modules  # noqa: E402
from benchmarks.common.bars import machine, print_bars  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "adversary.json"
LOOK_EVERY_S = 0.02
LIST_AT_MOST_S = 120.0
ENDED_WITHIN_S = 10.0
ZEROS = ("accepted", "lost", "hung", "failed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the JSON; 1 where anything was accepted or lost, hung, or could not be staged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="MODULE", choices=modules(), help="the attacks of one room")
    parser.add_argument("--line", type=int, help="the attacks of one line")
    parser.add_argument("--quick", action="store_true", help="without those that take minutes")
    parser.add_argument("--renew", action="store_true", help="write what `--only` gave beside what the rest had given")
    options = parser.parse_args(arguments)
    attacks = [found for module in ([options.only] if options.only else modules()) for found in listed(module)]
    attacks = [
        found
        for found in sorted(attacks, key=lambda found: found["line"])
        if options.line in (None, found["line"]) and (found["is_quick"] or not options.quick)
    ]
    done = []
    width = max((len(found["words"]) for found in attacks), default=0)
    print(f"{'line':>4}  {'attack':<{width}} {'outcome':<9} {'s':>6} {'MB':>6}")
    for found in attacks:
        came = {**found, **carried_out(found)}
        done.append(came)
        print(
            f"{came['line']:>4}  {came['words']:<{width}} {outcome(came):<9} "
            f"{came['seconds']:>6.1f} {came['peak_mb']:>6.0f}  {came['detail']}",
            flush=True,
        )
    if options.renew and options.only:
        former = json.loads(RESULT.read_bytes())["by_attack"]
        done += [came for came in former if came["module"] != options.only and came["module"] in modules()]
        done.sort(key=lambda came: int(came["line"]))
    figures = summary(done)
    print()
    print_bars(figures["bars"], decimals=0)
    print(f"\n{len(done)} attacks; largest memory {figures['largest_mb']:.0f} MB, longest {figures['longest_s']:.1f} s")
    is_whole = not options.only or options.renew
    if len(attacks) > 0 and is_whole and not (options.line or options.quick):
        RESULT.write_text(json.dumps(figures, indent=1) + "\n")
        print(f"written to {RESULT.relative_to(ROOT)}")
    return int(not done or any(not bar["is_met"] for bar in figures["bars"]))


def listed(module: str) -> list[dict[str, Any]]:
    """The attacks of a module, listed by another process, so that nothing they import weighs on this one."""
    listing = subprocess.run(
        [sys.executable, "-m", "benchmarks.attacks", "list", module],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIST_AT_MOST_S,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(listing.stdout.splitlines()[-1])
    return found


def carried_out(attack: dict[str, Any]) -> dict[str, Any]:
    """Carry one attack out in a process of its own; what came of it, its time, and its processes' memory at most."""
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        answer, log = Path(folder) / "answer.json", Path(folder) / "log"
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        with log.open("wb") as output:
            process = psutil.Popen(
                [sys.executable, "-m", "benchmarks.attacks", attack["module"], attack["name"], scratch, answer],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            peak_mb, seconds, past = watched(process, attack["at_most_s"], attack["at_most_mb"])
        came = {"accepted": 0, "lost": 0, "hung": 0, "failed": 0, "seconds": seconds, "peak_mb": peak_mb}
        if past:
            return {**came, "hung": 1, "detail": past}
        if process.returncode != 0 or not answer.exists():
            return {**came, "failed": 1, "detail": f"could not be staged: {log.read_text(errors='replace')[-2_000:]}"}
        return {**came, **json.loads(answer.read_bytes())}


def watched(process: psutil.Popen, at_most_s: float, at_most_mb: float) -> tuple[float, float, str]:
    """Wait for a process within its bounds, then end what it started and left behind.

    Returns:
        The most memory that it and its descendants held together, in 10^6 bytes; how long it took, seconds; and
        which bound it passed, or nothing.
    """
    started_s = time.monotonic()
    family: dict[int, psutil.Process] = {}
    peak_mb, past = 0.0, ""
    while process.poll() is None and not past:
        peak_mb = max(peak_mb, resident_mb(process, family))
        seconds = time.monotonic() - started_s
        if seconds > at_most_s:
            past = f"did not end within {at_most_s:g} s"
        elif peak_mb > at_most_mb:
            past = f"took {peak_mb:.0f} MB; {at_most_mb:g} are allowed"
        time.sleep(LOOK_EVERY_S)
    seconds = time.monotonic() - started_s
    for member in family.values():
        if member.is_running():
            member.kill()
    others = [member for member in family.values() if member.pid != process.pid]  # whose exit code is its own to take
    psutil.wait_procs(others, timeout=ENDED_WITHIN_S)
    process.wait()
    return peak_mb, seconds, past


def resident_mb(process: psutil.Popen, family: dict[int, psutil.Process]) -> float:
    """What a process and its descendants hold now, in 10^6 bytes. All that were ever seen are kept in `family`."""
    try:
        for member in (psutil.Process(process.pid), *process.children(recursive=True)):
            family.setdefault(member.pid, member)
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for member in family.values():
        try:
            total += member.memory_info().rss if member.is_running() else 0
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def outcome(came: dict[str, Any]) -> str:
    """The word for what came of an attack."""
    return next((word for word in ("failed", "hung", "lost", "accepted") if came[word]), "withstood")


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """The zeros, and what the attacks took at most."""
    zeros = {name: sum(came[name] for came in done) for name in ZEROS}
    return {
        **zeros,
        "attacks": len(done),
        "largest_mb": round(max((came["peak_mb"] for came in done), default=0.0), 1),
        "longest_s": round(max((came["seconds"] for came in done), default=0.0), 2),
        "bars": [{"bar": name, "measured": count, "limit": 0, "is_met": count == 0} for name, count in zeros.items()],
        "machine": machine(),
        "by_attack": [
            {
                key: round(value, 2) if isinstance(value, float) else value
                for key, value in came.items()
                if key not in ("at_most_s", "at_most_mb", "is_quick")
            }
            for came in done
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
