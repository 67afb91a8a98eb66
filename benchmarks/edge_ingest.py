"""Readings a second, from a logger's file into the device's store: parsed, mapped, judged, written, fsynced by batch.

    .venv/bin/python benchmarks/edge_ingest.py [--readings 60000] [--runs 3]

It needs a finished `make season` for a bundle. A TOA5 file of eight channels a minute apart; one core, the device's own
Python. Beside it the floor: SQLite alone, the same rows, the same batches, no checks.
"""

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.edge.device import RESULTS, make_device, on_device  # noqa: E402

RESULT = RESULTS / "edge_ingest.json"
BAR_READINGS_PER_S = 5_000.0
FIELDS = (
    ("AirTC_Avg", "air_temperature_c", "degC", 18.0),
    ("RH", "relative_humidity_pct", "%", 55.0),
    ("WS_ms_Avg", "wind_speed_m_s", "m/s", 2.0),
    ("SlrW_Avg", "solar_radiation_w_m2", "W/m2", 320.0),
    ("Rain_mm_Tot", "rain_mm", "mm", 0.0),
    ("VWC_15", "vwc_15cm_m3_m3", "m3/m3", 0.21),
    ("VWC_35", "vwc_35cm_m3_m3", "m3/m3", 0.24),
    ("VWC_75", "vwc_75cm_m3_m3", "m3/m3", 0.26),
)


def main() -> int:
    """Run, print the table, write the JSON; 1 where the bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--readings", type=int, default=60_000)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    rates, batches, floors = [], 0, []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=ROOT / ".fieldloop") as scratch:
            device = make_device(Path(scratch) / "device", settings()).root
            inbox = device / "inbox"
            inbox.mkdir()
            write_toa5(inbox / "station.dat", options.readings)
            found = on_device("ingest", device)
            if found["readings"] != options.readings:
                raise SystemExit(f"{found['readings']} of {options.readings} readings arrived")
            rates.append(found["readings"] / found["seconds"])
            batches = found["batches"]
            floors.append(sqlite_alone(Path(scratch) / "floor.db", options.readings, max(batches, 1)))
    rate, floor = statistics.median(rates), statistics.median(floors)
    figures = {
        "readings": options.readings,
        "channels": len(FIELDS),
        "batches": batches,
        "readings_per_s": rate,
        "runs_per_s": rates,
        "sqlite_alone_per_s": floor,
        "bar_per_s": BAR_READINGS_PER_S,
        "is_met": rate >= BAR_READINGS_PER_S,
    }
    print(f"{'ingested durably, readings/s':<40} {rate:>10,.0f}   bar {BAR_READINGS_PER_S:,.0f}")
    print(f"{'SQLite alone, same rows and batches':<40} {floor:>10,.0f}")
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(not figures["is_met"])


def settings() -> str:
    """The device's settings for this logger."""
    fields = "\n".join(f'{channel} = {{ field = "{field}", unit = "{unit}" }}' for field, channel, unit, _ in FIELDS)
    return (
        "[site]\nlatitude_deg = 41.4\nelevation_m = 465\n"
        '[[source]]\nname = "station"\nkind = "folder"\nformat = "toa5"\npath = "inbox"\n'
        f"[source.fields]\n{fields}\n"
    )


def write_toa5(path: Path, readings: int) -> None:
    """A logger's file: slowly moving values, a minute apart, ending now."""
    names = ["TIMESTAMP", "RECORD", *(field for field, *_ in FIELDS)]
    units = ["TS", "RN", *(unit for _, _, unit, _ in FIELDS)]
    head = [["TOA5", "station", "CR1000X", "1", "CR1000X.Std.05.02", "CPU:farm.CR1X", "1", "Minutes"], names, units]
    head.append(["", "", *("Avg" for _ in FIELDS)])
    first = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=readings)
    with path.open("w", encoding="ascii") as file:
        for row in head:
            file.write(",".join(f'"{cell}"' for cell in row) + "\r\n")
        for number in range(readings):
            at = (first + timedelta(minutes=number)).strftime("%Y-%m-%d %H:%M:%S")
            wobble = (number * 7919 % 101) / 101.0 - 0.5
            cells = ",".join(f"{value + 0.01 * value * wobble:.4g}" for *_, value in FIELDS)
            file.write(f'"{at}",{number},{cells}\r\n')


def sqlite_alone(path: Path, readings: int, batches: int) -> float:
    """Rows a second that SQLite writes durably with nothing around it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE samples (time_utc TEXT, origin INTEGER, body TEXT, UNIQUE (time_utc, origin))")
    body: dict[str, Any] = {channel: value for _, channel, _, value in FIELDS}
    rows = [(f"{number:020d}", 1, json.dumps(body)) for number in range(readings)]
    size = -(-readings // batches)
    started_s = time.perf_counter()
    for start in range(0, readings, size):
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO samples VALUES (?, ?, ?)", rows[start : start + size])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started_s
    connection.close()
    return readings / seconds


if __name__ == "__main__":
    sys.exit(main())
