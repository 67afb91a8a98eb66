"""The sample world as the loop knows it: its past, a field for each device, and the growers it is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldedge.contract import Record
from fieldloop.source import Source
from fieldloop.workloads.agriculture.params import AgricultureParams
from fieldloop.workloads.agriculture.world import tuned_threshold
from fieldloop.workloads.agriculture.world.field import SimulatedField
from fieldloop.workloads.agriculture.world.history import simulate_history
from fieldloop.workloads.agriculture.world.practices import Practice, Threshold, baselines
from fieldloop.workloads.agriculture.world.seasons import run_practices
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

PRACTICE = "fieldloop"  # who decides where a device stands


class FieldSeason:
    """One simulated field and the device in it, from planting to harvest, day by day.

    Each morning the field tells what its sensors saw the day before, asks what to do, does it, and tells what was
    really done.
    """

    def __init__(self, spec: FieldSpec) -> None:
        self._spec, self._field = spec, SimulatedField(spec)

    @property
    def is_over(self) -> bool:
        """Whether the crop is harvested."""
        return self._field.is_finished

    def context(self) -> Record:
        """The field's row."""
        return {"kind": "field", "record": self._spec.record()}

    def events(self) -> list[Record]:
        """The reading of the day before; none on planting day."""
        reading = self._field.reading()
        return [] if reading is None else [{"kind": "reading", "record": reading}]

    def question(self) -> Record:
        """What to do today."""
        return {"kind": "decide", "date": self._field.date}

    def apply(self, decision: Record) -> list[Record]:
        """Irrigate and fertilise as advised, as far as the equipment goes, and live through the day."""
        today = self._field.date
        applied = self._field.apply(decision["irrigation_mm"], decision["nitrogen_kg_ha"])
        operation = self._field.operation(today, applied, source="recommendation")
        return [] if operation is None else [{"kind": "operation", "record": operation}]

    def ending(self) -> Record:
        """The harvest."""
        return {"kind": "harvest", "record": self._field.harvest()}

    def error(self, decision: Record) -> float:
        """The foreseen median less the harvest, t/ha."""
        return float(decision["yield_p50_t_ha"] - self._field.harvest()["yield_t_ha"])

    def outcome(self) -> Record:
        """The field's yield, inputs and profit."""
        return self._field.outcome().as_record()


@dataclass(frozen=True)
class FieldPlace:
    """A field in a season."""

    spec: FieldSpec

    @property
    def period(self) -> int:
        """The harvest year."""
        return self.spec.season

    @property
    def name(self) -> str:
        """The field's id."""
        return self.spec.field_id

    @property
    def device_id(self) -> str | None:
        """The device that stands in it."""
        return self.spec.device_id

    def load(self) -> None:
        """Load AquaCrop and its soils."""
        self.spec.record()

    def begin(self) -> FieldSeason:
        """The field on planting day."""
        return FieldSeason(self.spec)


class SampleWorld(Source):
    """Simulated fields in real weather: the past, and a field for every device, spread evenly over the regions."""

    def __init__(self, params: AgricultureParams, device_ids: Sequence[str], prefix: str) -> None:
        self._params, self._device_ids, self._prefix = params, device_ids, prefix

    def history(self, folder: Path, workers: int, on_progress: Callable[[int, int], None]) -> None:
        """Simulate the past field-seasons of every region."""
        params = self._params.require_history()
        seasons = {region: range(first, last + 1) for region, (first, last) in params.regions.items()}
        simulate_history(seasons, params.fields_per_region, params.seed, folder, workers, on_progress)

    def places(self, season: int) -> list[FieldPlace]:
        """The field of every device."""
        return [FieldPlace(spec) for spec in self._specs(season)]

    def baselines(self, season: int, workers: int, on_progress: Callable[[int, int], None]) -> dict[str, list[Record]]:
        """The same fields and weather under the grower's other practices, and the best rule of the region's past."""
        practices, fields = baselines(self._params.practices.model_dump()), self._specs(season)
        names = [*practices, tuned_threshold.NAME]
        jobs = [(spec, practice) for practice in practices.values() for spec in fields]
        jobs += [(spec, self._tuned_threshold(spec.region, season, practices["threshold"])) for spec in fields]
        outcomes = [outcome.as_record() for outcome in run_practices(jobs, workers, on_progress)]
        return {name: outcomes[i * len(fields) : (i + 1) * len(fields)] for i, name in enumerate(names)}

    def _tuned_threshold(self, region: str, season: int, start: Practice) -> Practice:
        """What a grower of the region could have tuned before that season; the fixed rule where there is no past."""
        history = self._params.require_history()
        first, last = history.regions.get(region, (season, season))
        past = tuple(range(first, min(last, season - 1) + 1))
        assert isinstance(start, Threshold)  # noqa: S101 - for the type checker; `baselines` made it
        return tuned_threshold.tuned_threshold(region, past, history.fields_per_region, history.seed, start)

    def _specs(self, season: int) -> list[FieldSpec]:
        specs: list[FieldSpec] = []
        regions = self._params.loop.regions
        for i, region in enumerate(regions):
            devices = self._device_ids[i :: len(regions)]
            if devices:
                seed = self._params.require_history().seed
                specs += field_specs(region, season, len(devices), seed, PRACTICE, devices, prefix=self._prefix)
        return specs
