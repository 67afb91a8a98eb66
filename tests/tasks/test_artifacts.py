"""What is shown in Prefect's UI is read from what the steps stored, whatever the workload."""

from fieldloop.evaluation.gate import Beside, Difference, Floor
from fieldloop.workload import Metric
from tasks.artifacts import floor_rows


def test_the_floor_shows_the_model_beside_each_other_in_the_units_of_the_value() -> None:
    saved = Metric("time saved", "h", "saved_h", lower_is_better=False)
    none = Difference(0.0, 0.0, 0.0)
    others = (Beside("schedule", 11.6, none), Beside("habit", 9.0, none))
    floor = Floor(True, "it saved enough", saved, 40, 12.2, others, {"mean_wear_rmse_mm_s": 0.4})
    assert floor_rows(floor.as_dict()) == [
        {"followed": "model", "h": 12},
        {"followed": "schedule", "h": 12},
        {"followed": "habit", "h": 9},
    ]
