"""Examples that a model learns from and is judged on, whatever they are of.

A dataset knows no workload: what an input, a target and a group are is said by the workload that built it.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldedge.system.durable import write_durably

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """N examples. A group shares one outcome (a bearing's life): it is held out as a whole."""

    inputs: Array  # (N, F), in the units of the contract; what the model sees is the device's `scale` of it
    targets: Array  # (N, T), physical units
    group: npt.NDArray[np.int32]  # (N,), index into `groups`
    groups: tuple[str, ...]  # "period/name"
    left_out: Mapping[str, str] = field(default_factory=dict)  # groups with an outcome that teach nothing, and why
    set_aside: frozenset[str] = frozenset()  # periods that a model is calibrated on, and therefore not fitted to

    @property
    def periods(self) -> list[str]:
        """What the groups are of: the first part of their names, in order."""
        return sorted({_period(name) for name in self.groups})

    @property
    def is_set_aside(self) -> npt.NDArray[np.bool_]:
        """Whether a group is of a period that is set aside, by group."""
        return np.array([_period(name) in self.set_aside for name in self.groups], dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.inputs)


def joined(first: Dataset, second: Dataset) -> Dataset:
    """Both, one after the other."""
    return Dataset(
        np.concatenate([first.inputs, second.inputs]),
        np.concatenate([first.targets, second.targets]),
        np.concatenate([first.group, second.group + np.int32(len(first.groups))]).astype(np.int32),
        first.groups + second.groups,
        {**first.left_out, **second.left_out},
        first.set_aside | second.set_aside,
    )


def chosen(dataset: Dataset, groups: Sequence[int]) -> Dataset:
    """The examples of these groups alone."""
    renumbered = np.full(len(dataset.groups), -1, np.int32)
    renumbered[list(groups)] = np.arange(len(groups), dtype=np.int32)
    is_in = renumbered[dataset.group] >= 0
    return Dataset(
        dataset.inputs[is_in],
        dataset.targets[is_in],
        renumbered[dataset.group[is_in]],
        tuple(dataset.groups[i] for i in groups),
        dataset.left_out,
        dataset.set_aside,
    )


def parted(dataset: Dataset, share: float) -> Dataset:
    """About that share of the groups, by their names: the same ones however many others there are."""
    marks = [int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 0x1_0000_0000 for name in dataset.groups]
    below = [i for i, mark in enumerate(marks) if mark < share]
    return chosen(dataset, below or [int(np.argmin(marks))])


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Keep a dataset as one .npz file, whole or not at all."""
    sink = io.BytesIO()
    np.savez(
        sink,
        features=dataset.inputs,
        targets=dataset.targets,
        group=dataset.group,
        groups=np.array(dataset.groups, dtype=np.str_),
        left_out=np.array(json.dumps(dict(dataset.left_out)), dtype=np.str_),
        set_aside=np.array(sorted(dataset.set_aside), dtype=np.str_),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, sink.getvalue())


def load_dataset(path: Path) -> Dataset:
    """What `save_dataset` kept."""
    with np.load(path, allow_pickle=False) as kept:
        groups = tuple(str(name) for name in kept["groups"])
        left_out = json.loads(str(kept["left_out"])) if "left_out" in kept else {}  # a practice has none
        set_aside = frozenset(str(name) for name in kept["set_aside"]) if "set_aside" in kept else frozenset()
        return Dataset(kept["features"], kept["targets"], kept["group"], groups, left_out, set_aside)


def _period(group: str) -> str:
    return group.partition("/")[0]
