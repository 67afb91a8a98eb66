"""The cloud's commands: what is wrong is said in one line, with what to do, and nothing is half done."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fieldloop import cli
from fieldloop.core import process_setup
from fieldloop.gateway.owners import UnitOwners

ROOT = Path(__file__).parents[1]
KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a clone with our parameters; nothing is set up for good in this process."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.setenv("FIELDLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("FIELDLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(process_setup, "settle", lambda _home: None)
    return tmp_path / "home"


def said(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: str) -> str:
    """What a command that fails says; it is one line, and no traceback."""
    monkeypatch.setattr(sys, "argv", ["fieldloop", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = str(capsys.readouterr().err)
    assert ended.value.code == 1
    assert (err.startswith("fieldloop: "), err.count("\n")) == (True, 1)
    return err


def test_a_device_is_registered_with_all_its_units_or_not_at_all(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert "names no unit" in said(monkeypatch, capsys, "register-device", "dev-00", KEY, "--unit", "bad/x")
    assert not (home / "gateway" / "devices.json").exists()


@pytest.mark.parametrize("command", ["register-device", "return-to-history"])
def test_who_speaks_for_a_unit_is_asked_in_no_word_of_fields_and_seasons(command: str) -> None:
    told = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"}, catch_exceptions=False).output
    assert "2006/unit-07" in told
    assert not re.search(r"(?<!-)field(?!loop|edge)|season|champion", told)


def test_a_unit_is_registered_under_the_former_name_of_the_option_too(home: Path) -> None:
    command = ["register-device", "dev-00", KEY, "--unit", "pump-3", "--field", "2006/pump-4"]
    told = CliRunner().invoke(cli.app, command, catch_exceptions=False).output
    assert "it speaks for pump-3, 2006/pump-4" in told
    assert UnitOwners(home / "gateway" / "owners.json").registered() == {"pump-3": "dev-00", "2006/pump-4": "dev-00"}


def test_a_season_is_returned_to_the_history_and_given_to_a_device_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["fieldloop", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0

    owners, season = UnitOwners(home / "gateway" / "owners.json"), "2006/champion-00"
    give = ("register-device", "dev-17", KEY, "--unit", season)
    run(*give)
    assert "no period of a unit" in said(monkeypatch, capsys, "return-to-history", "champion-00")
    assert "--instead-of dev-17" in said(monkeypatch, capsys, "return-to-history", season)
    run("return-to-history", season, "--instead-of", "dev-17")
    assert owners.registered() == {season: ""}
    refused = said(monkeypatch, capsys, *give)
    assert "is registered for a history" in refused
    assert "--instead-of ''" in refused
    run(*give, "--instead-of", "")
    assert owners.registered() == {season: "dev-17"}


@pytest.mark.parametrize("place", ["/dev/null", "/proc/nowhere"])
@pytest.mark.parametrize("command", [["clean"], ["register-device", "dev-00", KEY]])
def test_an_unusable_home_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, place: str, command: list[str]
) -> None:
    monkeypatch.setenv("FIELDLOOP_HOME", place)
    assert "FIELDLOOP_HOME" in said(monkeypatch, capsys, *command)


def test_models_that_cannot_be_read_are_told(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    database = home / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_text("rubbish\n" * 200)
    promote = ("promote", "agriculture", "1", "--why", "a trial")
    assert f"the models in {database} cannot be read" in said(monkeypatch, capsys, *promote)
    monkeypatch.setenv("FIELDLOOP_MLFLOW_URI", "rubbish://")
    assert "the models in FIELDLOOP_MLFLOW_URI cannot be read" in said(monkeypatch, capsys, *promote)


def test_a_folder_among_the_refused_batches_is_no_batch(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (home.parent / "data" / "quarantine" / "batches" / "dev-00" / "x.batch").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["fieldloop", "quarantine", "list"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "0 refused batches" in capsys.readouterr().out
