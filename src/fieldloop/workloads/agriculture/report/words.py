"""Figures of fields in words: the sentences that the page, the terminal and the artifacts share.

A sentence says what the numbers say, also where they are not in Fieldloop's favour.
"""

from collections.abc import Sequence

from fieldloop.report.words import amount, listed, share_pct, signed
from fieldloop.workload import Figures

NAMES = {
    "fieldloop": "Fieldloop",
    "tuned_threshold": "threshold tuned on the region's past",
    "threshold": "soil-moisture threshold",
    "calendar": "fixed calendar",
    "rainfed": "rainfed",
}
SHORT_NAMES = {**NAMES, "tuned_threshold": "tuned threshold", "threshold": "threshold", "calendar": "calendar"}


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


def threshold_sentence(seasons: Sequence[Figures]) -> str:
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


def error_sentence(seasons: Sequence[Figures]) -> str:
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


def _the(practice: str) -> str:
    return "without irrigation" if practice == "rainfed" else f"the {NAMES[practice]}"
