"""Pictures of what fields earned, yielded and were given. They show the spread over fields beside every mean."""

from collections.abc import Callable, Sequence
from typing import Any

from fieldloop.report import pictures
from fieldloop.report.pictures import COLOURS
from fieldloop.report.words import amount, signed
from fieldloop.workload import Drawing, Figures
from fieldloop.workloads.agriculture.report.figures import others_of, practices_of
from fieldloop.workloads.agriculture.report.words import NAMES, SHORT_NAMES

COLOUR_OF = {
    "fieldloop": "fieldloop",
    "tuned_threshold": "ink",
    "threshold": "blue",
    "calendar": "ochre",
    "rainfed": "stone",
}


def _by_practice(measure: str, unit: str, digits: int) -> Callable[[Any, Sequence[Figures]], str]:
    def draw(figure: Any, seasons: Sequence[Figures]) -> str:
        practices = practices_of(seasons)
        rows_of = pictures.panels(figure, len(seasons), 0.27, len(practices))
        for axes, season in zip(rows_of, seasons, strict=True):
            pictures.settle(axes, str(season["season"]), [SHORT_NAMES[practice] for practice in practices])
            for row, practice in enumerate(practices):
                values = [field[measure][practice] for field in season["fields"]]
                pictures.dots(axes, values, row, COLOURS[COLOUR_OF[practice]])
                mean = season[measure][practice]
                pictures.mean(axes, mean, row, COLOURS[COLOUR_OF[practice]], amount(mean, digits))
        rows_of[-1].set_xlabel(f"{unit}; small dots: fields, large: their mean")
        return "; ".join(_told_means(season, measure, unit, digits) for season in seasons)

    return draw


def _told_means(season: Figures, measure: str, unit: str, digits: int) -> str:
    means = ", ".join(f"{NAMES[name]} {amount(season[measure][name], digits)}" for name in practices_of([season]))
    return f"{season['season']}, {unit}: {means}"


def _draw_gain(figure: Any, seasons: Sequence[Figures]) -> str:
    others = others_of(seasons)
    rows_of = pictures.panels(figure, len(seasons), 0.36, len(others))
    told = []
    for axes, season in zip(rows_of, seasons, strict=True):
        pictures.settle(axes, str(season["season"]), [f"over {SHORT_NAMES[other]}" for other in others])
        axes.axvline(0, color=COLOURS["muted"], linewidth=1.0, zorder=1)
        for row, other in enumerate(others):
            gain = season["gain"][other]
            fields = [field["profit_usd_ha"] for field in season["fields"]]
            pictures.dots(
                axes, [profit["fieldloop"] - profit[other] for profit in fields], row, COLOURS[COLOUR_OF[other]]
            )
            axes.plot(
                [gain["low_usd_ha"], gain["high_usd_ha"]], [row, row], color=COLOURS[COLOUR_OF[other]], linewidth=2.5
            )
            pictures.mean(
                axes, gain["mean_usd_ha"], row, COLOURS[COLOUR_OF[other]], signed(gain["mean_usd_ha"]), area=30
            )
            told.append(f"{season['season']} over {NAMES[other]} {signed(gain['mean_usd_ha'])} USD/ha")
    rows_of[-1].set_xlabel("USD/ha on the same field; bar: 90 % interval of the mean")
    return "Fieldloop's gain: " + ", ".join(told)


DRAWINGS = {
    "profit": Drawing("Profit per hectare", _by_practice("profit_usd_ha", "USD/ha", 0)),
    "yield": Drawing("Yield per hectare", _by_practice("yield_t_ha", "t/ha dry grain", 1)),
    "water": Drawing("Irrigation", _by_practice("irrigation_mm", "mm", 0)),
    "gain": Drawing("What Fieldloop earned more, field by field", _draw_gain),
}
