"""Fine-tuning: a small network learns on from the outcomes and, beside them, from a large teacher's answers.

The teacher is as big as the cloud likes: the whole champion, or an ensemble of larger networks. The student is fitted
by the same Lightning module and loss as every model (`training/trainer.py`); the teacher's answers are added to the
loss, each in units of its own spread. It is asked about rows of which some features are another row's, so that the
student learns the teacher and not the teacher's answers by heart (a patient teacher, Beyer et al. 2022,
doi:10.48550/arXiv.2106.05237; features drawn from their own columns, Bahri et al. 2021, doi:10.48550/arXiv.2106.15147).
Quantisation-aware fine-tuning is the same with the weights and activations rounded on the way forward.
"""

import copy
from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from fieldloop.compression.prune import with_other_body
from fieldloop.core.dataset import Dataset, chosen
from fieldloop.core.params import ModelParams
from fieldloop.core.process_setup import hush
from fieldloop.training.trainer import GroupedData, LearnerModule
from fieldloop.workload import Workload

TEACHER_SHARE = 0.5  # of the loss
SWAPPED_SHARE = 0.15
_LEVELS = 255


class Student(LearnerModule):
    """A network under training that listens to its teachers as well."""

    def __init__(
        self,
        workload: Workload,
        params: ModelParams,
        network: nn.Module,
        teachers: Sequence[nn.Module],
        teacher_share: float,
        swapped_share: float,
    ) -> None:
        super().__init__(workload, params.model_dump(mode="json"))
        self.network = network
        self.teachers = Teachers(workload, teachers)
        self.teacher_share, self.swapped_share = teacher_share, swapped_share

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        inputs, targets = batch
        if not self.teachers:
            loss: Tensor = self.learner.loss(self.network(inputs), targets)
            return loss
        asked = swapped(inputs, self.swapped_share)
        answers = self.teachers.answers(asked)
        outputs, replies = self.network(torch.cat([inputs, asked])).split(len(inputs))
        spread = answers.std(0).clamp(min=1e-6)
        listening = nn.functional.smooth_l1_loss(replies / spread, answers / spread, beta=0.5)
        return (1.0 - self.teacher_share) * self.learner.loss(outputs, targets) + self.teacher_share * listening


def swapped(inputs: Tensor, share: float) -> Tensor:
    """Rows (B, F) with that share of their features from one other row each."""
    others = inputs[torch.randperm(len(inputs))]
    return torch.where(torch.rand_like(inputs) < share, others, inputs)


class Teachers(list[nn.Module]):
    """Networks without the stretch of their intervals. A plain list: a student does not train them."""

    def __init__(self, workload: Workload, teachers: Sequence[nn.Module]) -> None:
        super().__init__(copy.deepcopy(teacher).eval() for teacher in teachers)
        for teacher in self:
            workload.learner.forget_calibration(teacher)

    def answers(self, inputs: Tensor) -> Tensor:
        """The mean of their answers, (N, O)."""
        if not self:
            raise ValueError("there is no teacher")
        with torch.no_grad():
            return torch.stack([teacher(inputs) for teacher in self]).mean(0)


def fine_tuned(
    workload: Workload,
    network: nn.Module,
    examples: Dataset,
    params: ModelParams,
    teachers: Sequence[nn.Module] = (),
    teacher_share: float = TEACHER_SHARE,
    swapped_share: float = SWAPPED_SHARE,
) -> nn.Module:
    """The network after `params.epochs` more epochs, calibrated as a trained one is; the given one is not changed.

    Args:
        teachers: whose mean it learns; without any it learns from outcomes alone.
        teacher_share: of the loss, the rest being the outcomes'.
        swapped_share: of the features of a row that the teachers are asked about, from another row.
    """
    hush()
    lightning.seed_everything(params.seed, verbose=False)
    learner = Student(workload, params, copy.deepcopy(network).train(), teachers, teacher_share, swapped_share)
    trainer = lightning.Trainer(
        max_epochs=params.epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = GroupedData(examples, workload.device.contract.scale, params.batch_size, params.seed)
    trainer.fit(learner, data)
    tuned = learner.network.cpu().eval()
    calibrate(workload, tuned, data)
    return tuned


def calibrate(workload: Workload, network: nn.Module, data: GroupedData) -> None:
    """Stretch the network's interval by the groups that were set aside."""
    inputs, targets = data.validation_set.tensors
    workload.learner.forget_calibration(network)
    with torch.no_grad():
        outputs = network.eval()(inputs)
    workload.learner.calibrate(network, inputs, outputs, targets)


def ensemble(
    workload: Workload, champion: nn.Module, examples: Dataset, params: ModelParams, hidden: Sequence[int], members: int
) -> list[nn.Module]:
    """Large networks trained on the same examples from other starts; what surrounds the body is the champion's."""
    teachers = []
    for member in range(members):
        torch.manual_seed(params.seed + member)
        fresh = with_other_body(workload.learner, champion, hidden, params.dropout)
        own = params.model_copy(update={"seed": params.seed + member})
        teachers.append(fine_tuned(workload, fresh, examples, own))
    return teachers


def quantisation_aware(
    workload: Workload,
    network: nn.Module,
    examples: Dataset,
    params: ModelParams,
    teachers: Sequence[nn.Module] = (),
    steps: int = 127,
) -> nn.Module:
    """The network fine-tuned with 8-bit rounding on the way forward; gradients pass as if there were none.

    Args:
        steps: of a weight on either side of zero: 127 for 8 bits, 64 for the reduced range.
    """
    rounded: Any = copy.deepcopy(network)
    for name, module in list(rounded.body.named_children()):
        if isinstance(module, nn.Linear):
            setattr(rounded.body, name, _Rounded(module, steps))
    # Rows that no unit has would widen the ranges that are rounded.
    tuned: Any = fine_tuned(workload, rounded, examples, params, teachers, swapped_share=0.0)
    for name, module in list(tuned.body.named_children()):
        if isinstance(module, _Rounded):
            setattr(tuned.body, name, module.linear)
    calibrate(workload, tuned, GroupedData(examples, workload.device.contract.scale, params.batch_size, params.seed))
    result: nn.Module = tuned
    return result


class _Rounded(nn.Module):
    """A linear layer that sees its inputs and weights as 8-bit ones."""

    def __init__(self, linear: nn.Linear, steps: int) -> None:
        super().__init__()
        self.linear, self.steps = linear, steps
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            seen = inputs.detach()
            self.low = torch.minimum(self.low, seen.min())
            self.high = torch.maximum(self.high, seen.max())
        scale = ((self.high - self.low) / _LEVELS).clamp(min=1e-8)
        steps = ((inputs - self.low) / scale).clamp(0, _LEVELS)
        inputs = _through(steps) * scale + self.low
        weight = self.linear.weight
        size = (weight.detach().abs().amax(1, keepdim=True) / self.steps).clamp(min=1e-8)
        return nn.functional.linear(inputs, _through(weight / size) * size, self.linear.bias)


def _through(values: Tensor) -> Tensor:
    """Rounded forward, untouched backward."""
    return values + (values.round() - values).detach()


def subset(examples: Dataset, rows: int, seed: int) -> Dataset:
    """About `rows` examples of whole groups, the same for the same seed; all of them where there are fewer."""
    if len(examples) <= rows:
        return examples
    order = np.random.default_rng(seed).permutation(len(examples.groups))
    sizes = np.bincount(examples.group, minlength=len(examples.groups))[order]
    groups = np.sort(order[: int(np.searchsorted(np.cumsum(sizes), rows)) + 1])
    return chosen(examples, groups.tolist())
