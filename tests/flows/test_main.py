"""`python -m flows`: which flow runs, and which there are."""

from importlib.util import find_spec

import pytest

from flows import __main__ as command


@pytest.mark.parametrize(
    ("said", "runs"),
    [([], ("season", "")), (["retrain"], ("retrain", "")), (["season", "kiosk"], ("season", "kiosk"))],
)
def test_the_flow_that_is_named_runs_and_the_season_where_none_is(
    said: list[str], runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, str]] = []
    monkeypatch.setattr(command, "run_from_terminal", lambda *given: ran.append(given))
    command.main(said)
    assert ran == [runs]


@pytest.mark.parametrize(("said", "code"), [("--help", 0), ("spring", 2)])
def test_the_flows_are_named_to_who_asks_and_to_who_names_another(
    said: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([said])
    assert ended.value.code == code
    told = "".join(capsys.readouterr())
    for name in command.FLOWS:
        assert name in told
        assert find_spec(f"flows.{name}") is not None
