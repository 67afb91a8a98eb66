"""One field's season as the device goes through it: what was read and done, and the state folded from it so far."""

from datetime import date, timedelta

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldedge.workload import Array, Decision, Noted, Question
from fieldedge.workloads.agriculture.decision import answer, question_of
from fieldedge.workloads.agriculture.features import Day, SeasonState
from fieldedge.workloads.agriculture.forecast import forecast_on
from fieldedge.workloads.agriculture.learned import confirmed
from fieldedge.workloads.agriculture.tables import EPISODE

FAULTY_WINDOW_D, USABLE_DAYS_MIN = 7, 4  # of the last week at least so many days must have had a usable reading

EARLIEST_HARVEST_D, LATEST_HARVEST_D = 80, 300  # of maize, days after planting
TEMPERATE_DEG = 30.0  # beyond it a winter ends every season
NORTH_PLANTS_UNTIL, SOUTH_PLANTS_FROM, SOUTH_PLANTS_UNTIL = 8, 7, 4  # months


def season_fault(record: Record, latitude_deg: float | None) -> str | None:
    """Why a field's season, its harvest year, cannot follow from its planting date; None where it can.

    Beyond 30 degrees of latitude a winter tells the year: what is planted in the northern summer half is harvested
    before it, what is planted in the southern spring after the new year.
    """
    planting = date.fromisoformat(record["planting_date"])
    years = sorted({(planting + timedelta(days=days)).year for days in (EARLIEST_HARVEST_D, LATEST_HARVEST_D)})
    if latitude_deg is not None and latitude_deg >= TEMPERATE_DEG and planting.month <= NORTH_PLANTS_UNTIL:
        years = [planting.year]
    elif latitude_deg is not None and latitude_deg <= -TEMPERATE_DEG:
        if planting.month >= SOUTH_PLANTS_FROM:
            years = [planting.year + 1]
        elif planting.month <= SOUTH_PLANTS_UNTIL:
            years = [planting.year]
    if record["season"] in years:
        return None
    place = "" if latitude_deg is None else f" at {latitude_deg:g} degrees of latitude"
    return (
        f"season is {record['season']}, and maize planted on {planting}{place} is harvested in "
        f"{' or '.join(str(year) for year in years)}: the season is the year of the harvest"
    )


class FieldSeason:
    """A field's season, begun by its row of table `fields`."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._planting = date.fromisoformat(record["planting_date"])
        self._readings: dict[str, Record] = {}
        self._done: dict[str, tuple[float, float]] = {}
        self._answers: dict[str, Record] = {}
        self._is_over = False
        self._state: SeasonState | None = None
        self._state_date = self._planting

    def fold(self, table: str, record: Record) -> None:
        """Take in a reading, what was done on a day (the last that is said of it counts), or the harvest."""
        if table == "harvests":
            self._is_over = True
            return
        if table == "confirmations":
            self._answers[record["record_id"]] = record
            self._state = None  # what was confirmed holds since planting: fold anew
            return
        if table == "readings":
            self._readings[record["date"]] = record
        elif table == "operations":
            self._done[record["date"]] = record["irrigation_mm"], record["nitrogen_kg_ha"]
        if record["date"] < self._state_date.isoformat():
            self._state = None  # a record for a day that was folded in already came late: fold anew

    def is_over(self) -> bool:
        return self._is_over

    def question(self, at: str, noted: Noted) -> Question:
        """What is known on the morning of `at`. Folds in only the days since the last call.

        Raises:
            DataError: the day is before planting or far beyond any season.
        """
        state = self._state_on(at)
        return question_of(self._record, state, at, forecast_on(at, noted("forecast")), self._too_few_readings(at))

    def answer(self, question: Question, outputs: Array | None, abstained: str | None) -> Decision:
        return answer(self._record, question, outputs, abstained).as_decision()

    def _state_on(self, today: str) -> SeasonState:
        morning = date.fromisoformat(today)
        if not EPISODE.has_day(today, self._record):
            raise DataError(
                f"{today} is not in the season {EPISODE.of(self._record)}; expected "
                f"{EPISODE.window_words(self._record)}"
            )
        state, self._state = self._state, None  # a day that fails must not leave a half-folded state behind
        if state is None or self._state_date > morning:
            state, self._state_date = SeasonState.start(self._record, confirmed(self._answers.values())), self._planting
        while self._state_date < morning:
            state.advance(self._day(self._state_date.isoformat()))
            self._state_date += timedelta(days=1)
        self._state = state
        return state

    def _too_few_readings(self, today: str) -> str | None:
        """Of the last week, how many days had a usable reading, where those are too few."""
        morning = date.fromisoformat(today)
        if (morning - self._planting).days < FAULTY_WINDOW_D:
            return None
        days = [(morning - timedelta(days=back)).isoformat() for back in range(1, FAULTY_WINDOW_D + 1)]
        usable = sum(day in self._readings for day in days)
        return None if usable >= USABLE_DAYS_MIN else f"only {usable} of the last {len(days)} days had a usable reading"

    def _day(self, day: str) -> Day:
        irrigation_mm, nitrogen_kg_ha = self._done.get(day, (0.0, 0.0))
        return Day(day, self._readings.get(day), irrigation_mm, nitrogen_kg_ha)
