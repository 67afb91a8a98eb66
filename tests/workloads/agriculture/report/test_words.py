"""What the numbers say in words, also where they are not in Fieldloop's favour."""

from fieldloop.report import build_report, period_figures, period_markdown, terminal_summary
from fieldloop.report.terminal import WIDTH
from fieldloop.workloads.agriculture.report.words import against, error_sentence, threshold_sentence
from tests.workloads.agriculture.report.sample_story import ENVIRONMENT, SECTIONS, story

FIELDS = 8
LINKS = {"Report": "/somewhere/.fieldloop/report.html"}


def figures(extra_usd_ha: float, season: int = 2006) -> dict[str, object]:
    return period_figures(story(season, "1", FIELDS, extra_usd_ha), SECTIONS)


def test_a_threshold_that_earned_more_is_said_so() -> None:
    behind = figures(-400.0)
    assert "earned more than Fieldloop in every season" in threshold_sentence([behind])
    assert "USD/ha less than the soil-moisture threshold" in against(behind, "threshold")


def test_a_threshold_that_earned_less_is_said_so() -> None:
    ahead = figures(400.0)
    assert threshold_sentence([ahead]).startswith("Fieldloop earned more than the soil-moisture threshold")
    assert "USD/ha more than the soil-moisture threshold, better on" in against(ahead, "threshold")


def test_seasons_of_either_kind_are_told_apart() -> None:
    said = threshold_sentence([figures(400.0), figures(-400.0, 2007)])
    assert said == "The soil-moisture threshold earned more than Fieldloop in 2007, and less in 2006."


def test_a_difference_within_chance_is_called_that() -> None:
    season = figures(0.0)
    gain = {"mean_usd_ha": 4.0, "low_usd_ha": -30.0, "high_usd_ha": 41.0, "fields_better": 4, "fields": 8}
    near = {**season, "gain": {"threshold": gain}}
    assert "within chance: the 90 % interval is −30 to +41" in against(near, "threshold")


def test_an_error_that_grew_is_told_with_whether_the_model_changed() -> None:
    first, last = figures(0.0), figures(0.0, 2007)
    grown = {**last, "yield_rmse_t_ha": 2 * float(str(first["yield_rmse_t_ha"]))}
    assert "t/ha, 100 % more than the 1.31 of 2006. The same version decided in both" in error_sentence([first, grown])
    assert "not only the model" in error_sentence([first, {**grown, "model_version": "2"}])
    assert "no error to compare" in error_sentence([{**first, "yield_rmse_t_ha": None}, last])


def test_the_terminal_summary_is_narrow_and_whole() -> None:
    seasons = [story(2006, "1"), story(2007, "2", extra_usd_ha=-1_500.0)]
    said = terminal_summary(build_report(seasons, SECTIONS, 372.4, ENVIRONMENT), SECTIONS, LINKS)
    lines = said.splitlines()
    assert max(len(line) for line in lines) <= WIDTH
    assert "…" not in said
    assert "2006" in said
    assert "6 min 12 s" in said
    assert LINKS["Report"] in said
    assert "make ui" in lines[-1]


def test_the_markdown_has_a_row_per_practice_and_the_reasons() -> None:
    told = story(2007, "2", FIELDS)
    said = period_markdown(told, SECTIONS)
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) == 7
    assert len({line.count("|") for line in rows}) == 1
    assert told.verdict["reason"] in said
    assert told.compressed["reason"] in said
    assert told.registered["mlflow_run_id"] in said
