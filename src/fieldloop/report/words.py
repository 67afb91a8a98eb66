"""Figures in words: the sentences that the page, the terminal and the artifacts share.

A sentence says what the numbers say, also where they are not in Fieldloop's favour. The order of words never depends
on where it is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]

NAMES = {
    "fieldloop": "Fieldloop",
    "threshold": "soil-moisture threshold",
    "calendar": "fixed calendar",
    "rainfed": "rainfed",
}
SHORT_NAMES = {**NAMES, "threshold": "threshold", "calendar": "calendar"}


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


def is_ahead(season: Figures, other: str) -> bool:
    """Whether Fieldloop's mean profit was the higher one."""
    return float(season["gain"][other]["mean_usd_ha"]) > 0


def against(season: Figures, other: str) -> str:
    """Fieldloop beside one practice, in one clause that is true of the numbers."""
    gain = season["gain"][other]
    mean, low, high = (float(gain[name]) for name in ("mean_usd_ha", "low_usd_ha", "high_usd_ha"))
    if abs(mean) < 0.5:
        said = f"as much as {_the(other)}"
    elif mean > 0:
        said = f"{amount(mean)} USD/ha more than {_the(other)}"
    else:
        said = f"{amount(-mean)} USD/ha less than {_the(other)}"
    if low <= 0 <= high and len(season["fields"]) > 1:
        said += f" (within chance: the 90 % interval is {signed(low)} to {signed(high)})"
    return f"{said}, better on {gain['fields_better']} of {gain['fields']} fields"


def profit_sentence(season: Figures) -> str:
    """How the season went for the growers' purse."""
    earned = amount(season["profit_usd_ha"]["fieldloop"])
    clauses = "; ".join(against(season, other) for other in season["gain"])
    return f"In {season['season']}, Fieldloop's fields earned {earned} USD/ha on average: {clauses}."


def threshold_sentence(seasons: list[Figures]) -> str:
    """Whether a well-tuned threshold is beaten, season by season, without looking away."""
    lost = [str(season["season"]) for season in seasons if not is_ahead(season, "threshold")]
    if not lost:
        return "Fieldloop earned more than the soil-moisture threshold in every season."
    if len(lost) == len(seasons):
        return (
            "The soil-moisture threshold earned more than Fieldloop in every season: a well-tuned threshold is a "
            "strong rule, and not beaten yet."
        )
    won = [str(season["season"]) for season in seasons if is_ahead(season, "threshold")]
    return f"The soil-moisture threshold earned more than Fieldloop in {listed(lost)}, and less in {listed(won)}."


def error_sentence(seasons: list[Figures]) -> str:
    """How the prediction error moved from the first season to the last."""
    first, last = seasons[0], seasons[-1]
    before, after = first["yield_rmse_t_ha"], last["yield_rmse_t_ha"]
    if before is None or after is None:
        return "In at least one season no recommendation came from a model, so there is no error to compare."
    now = f"In {last['season']}, the devices foresaw the harvest with an error (RMSE) of {after:.2f} t/ha"
    if first is last:
        return f"{now}."
    moved = f"{abs(share_pct(after - before, before)):.0f} % {'less' if after < before else 'more'} than"
    if first["model_version"] == last["model_version"]:
        why = "The same version decided in both, so the difference is the weather's and the fields'."
    else:
        why = "The weather differs too, not only the model."
    return f"{now}, {'the same as' if after == before else moved} the {before:.2f} of {first['season']}. {why}"


def transfer_sentence(season: Figures) -> str:
    """What came home, at which cost, and whether anything was lost."""
    part = share_pct(season["bytes_sent"], season["bytes_collected"])
    lost = season["records_lost"]
    kept = "none was lost" if lost == 0 else f"{amount(lost)} were lost"
    if season.get("records_waiting"):
        kept += f", and {amount(season['records_waiting'])} wait for the version that knows their contract"
    return (
        f"In {season['season']}, {season['devices']} devices collected {size(season['bytes_collected'])} in "
        f"{amount(season['records_collected'])} records and sent home "
        f"{amount(season['records_acknowledged'])} of them, the "
        f"outcomes and the most telling days, in {size(season['bytes_sent'])} ({part:.1f} %); {kept}."
    )


def latency_sentence(season: Figures) -> str:
    """How long a device takes to decide."""
    half, most = (amount(season[f"latency_{name}_ms"], 1) for name in ("p50", "p99"))
    return (
        f"In {season['season']}, half of the {amount(season['recommendations'])} decisions took at most {half} ms and "
        f"99 of 100 at most {most} ms, offline."
    )


def shipping_sentence(bundle: Figures) -> str:
    """What ships and what it weighs."""
    part = share_pct(bundle["bytes"], bundle["float32_bytes"])
    return (
        f"The model ships as {bundle['shipped']}: {size(bundle['bytes'])}, {part:.0f} % of float32's "
        f"{size(bundle['float32_bytes'])}; INT8's held-out yield error is "
        f"{signed(bundle['error_increase_pct'], 2)} % against float32."
    )


def improvement_sentences(figures: Figures) -> list[str]:
    """Whether retraining on selected days paid in a new region, and how random days and all days did beside it."""
    last, count = figures["last_seasons"], figures["last"]
    selected, none = last["selected"], last["none"]
    gain, change = selected["profit_gain_usd_ha"], selected["yield_rmse_change_t_ha"]
    part = share_pct(selected["bytes_sent"], last["everything"]["bytes_sent"])
    mine, random, everything = (
        f"{amount(last[name]['profit_usd_ha'])} USD/ha and {amount(last[name]['yield_rmse_t_ha'], 2)} t/ha"
        for name in ("selected", "random", "everything")
    )
    return [
        f"In a region that the history does not contain ({figures['region'].title()}), models retrained each season on "
        f"the days that devices selected earned {_changed(gain, 0, 'USD/ha', ('more', 'less'))} than the first model "
        f"forever, over the last {count} of {len(figures['seasons'])} seasons, and foresaw the harvest with "
        f"{_changed(change, 2, 't/ha', ('more', 'less'))} of error, {amount(selected['yield_rmse_t_ha'], 2)} for "
        f"{amount(none['yield_rmse_t_ha'], 2)}.",
        f"They did so with {part:.0f} % of the bytes of all days. Profit and error with selected days: {mine}; with "
        f"random days within the same bytes: {random}; with all days: {everything}.",
    ]


def _changed(change: Figures, digits: int, unit: str, words: tuple[str, str]) -> str:
    """`7 USD/ha more (95 % interval ...)`, and that it may be chance where the interval says so."""
    low, high = signed(change["low"], digits), signed(change["high"], digits)
    chance = "within chance: " if change["low"] <= 0 <= change["high"] else ""
    word = words[0] if change["mean"] >= 0 else words[1]
    return f"{amount(abs(change['mean']), digits)} {unit} {word} ({chance}95 % interval {low} to {high})"


def version_sentence(lineage: Figures) -> str:
    """Which version decided, where the newest was kept back."""
    if lineage["model_version"] == lineage["trained_version"]:
        return f"Devices ran version {lineage['model_version']}, trained before the season."
    return (
        f"Version {lineage['trained_version']} was trained before the season and kept back; devices ran version "
        f"{lineage['model_version']}."
    )


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _the(practice: str) -> str:
    return "without irrigation" if practice == "rainfed" else f"the {NAMES[practice]}"
