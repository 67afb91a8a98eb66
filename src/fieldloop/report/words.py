"""Figures in words: the sentences that the page, the terminal and the artifacts share.

A sentence says what the numbers say, also where they are not in Fieldloop's favour. The order of words never depends
on where it is shown.
"""

from collections.abc import Sequence

from fieldedge.presentation.text import plural
from fieldloop.core.stored_names import PERIOD
from fieldloop.core.words import Words
from fieldloop.workload import Figures, Metric


def amount(value: float | None, digits: int = 0) -> str:
    """A number for people, with thousands apart; `–` where there is none."""
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def signed(value: float | None, digits: int = 0) -> str:
    """A difference for people, always with its sign."""
    text = amount(value, digits)
    return text if value is None or text.startswith("−") or not text.strip("0.") else f"+{text}"


def size(count: int) -> str:
    """Bytes in decimal units, three digits at most."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 99.95 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """How long, in the words of a clock."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def share_pct(part: float, whole: float) -> float:
    """`part` in percent of `whole`; 0 of nothing is 0."""
    return 100.0 * part / whole if whole else 0.0


def transfer_sentence(period: Figures, examples: str) -> str:
    """What came home, at which cost, and whether anything was lost; `examples` is what they are called, of many."""
    part = share_pct(period["bytes_sent"], period["bytes_collected"])
    lost = period["records_lost"]
    kept = "none was lost" if lost == 0 else f"{amount(lost)} were lost"
    if period.get("records_waiting"):
        kept += f", and {amount(period['records_waiting'])} wait for the version that knows their contract"
    return (
        f"In {period[PERIOD]}, {period['devices']} devices collected {size(period['bytes_collected'])} in "
        f"{amount(period['records_collected'])} records and sent home "
        f"{amount(period['records_acknowledged'])} of them, the "
        f"outcomes and the most telling {examples}, in {size(period['bytes_sent'])} ({part:.1f} %); {kept}."
    )


def latency_sentence(period: Figures) -> str:
    """How long a device takes to decide."""
    if period["latency_p50_ms"] is None:
        return f"In {period[PERIOD]}, no decision was asked for."
    half, most = (amount(period[f"latency_{name}_ms"], 1) for name in ("p50", "p99"))
    return (
        f"In {period[PERIOD]}, half of the {amount(period['recommendations'])} decisions took at most {half} ms and "
        f"99 of 100 at most {most} ms, offline."
    )


def shipping_sentence(bundle: Figures, primary: Metric) -> str:
    """What ships and what it weighs."""
    part = share_pct(bundle["bytes"], bundle["float32_bytes"])
    return (
        f"The model ships as {bundle['shipped']}: {size(bundle['bytes'])}, {part:.0f} % of float32's "
        f"{size(bundle['float32_bytes'])}; INT8's held-out {primary.name} is "
        f"{signed(bundle['error_increase_pct'], 2)} % against float32."
    )


def version_sentence(lineage: Figures, words: Words) -> str:
    """Which version decided, where the newest was kept back."""
    if lineage["model_version"] == lineage["trained_version"]:
        return f"Devices ran version {lineage['model_version']}, trained before the {words.period}."
    return (
        f"Version {lineage['trained_version']} was trained before the {words.period} and kept back; devices ran "
        f"version {lineage['model_version']}."
    )


def rollout_sentence(rollout: Figures, words: Words) -> str:
    """How a version went out, stage by stage, and how that ended."""
    stages = rollout["stages"]
    went = listed([f"{stage['percentage']:g} % of the devices on {stage['since']}" for stage in stages])
    version, ended = rollout["version"], rollout["ended_on"]
    if not stages:
        return f"The rollout of version {version} began on {ended}, and nothing came of it in the {words.period}."
    last = stages[-1]
    devices = counted(last["cohort"], "device")
    counts = f"of {devices} {last['confirmed']} confirmed it and {last['failed']} failed"
    if rollout["phase"] == "finished":
        return f"Version {version} went out in stages: to {went}; {counts}, and it is everyone's since {ended}."
    if rollout["phase"] in ("halted", "reverted"):
        return (
            f"Version {version} went to {went} and was {rollout['phase']} on {ended}: {counts}, and every device that "
            "had it is back on the version before."
        )
    return f"Version {version} went to {went}; on {ended} its rollout was {rollout['phase']}."


def counted(count: int, noun: str, many: str = "") -> str:
    """`1 day`, `2 days`; `many` is the noun of many where it is no regular one."""
    return f"{amount(count)} {plural(noun, count, many)}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
