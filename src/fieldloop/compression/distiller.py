"""Small networks made of the champion: pruned, taught by it or by an ensemble, or fine-tuned with 8-bit rounding."""

from functools import cached_property

import numpy as np
import torch

from fieldloop.compression.distil import ensemble, fine_tuned, quantisation_aware, subset
from fieldloop.compression.inputs import CompressionInputs
from fieldloop.compression.prune import importance, structured
from fieldloop.core.dataset import Dataset
from fieldloop.core.params import CompressionParams, ModelParams

_IMPORTANCE_ROWS = 8192


class Distiller:
    """What is left of the champion after pruning, taught by the whole one or by an ensemble, which is trained once."""

    def __init__(self, inputs: CompressionInputs, params: CompressionParams) -> None:
        self._inputs, self._params = inputs, params

    def taught(self, keep: float) -> torch.nn.Module:
        """The network with that share of its neurons.

        Raises:
            OperatorError: the body has a layer whose neurons cannot be removed.
        """
        inputs, examples = self._inputs, self._examples
        rows, targets = torch.from_numpy(inputs.scale(examples.inputs)), torch.from_numpy(examples.targets)
        picks = torch.from_numpy(np.random.default_rng(0).permutation(len(rows))[:_IMPORTANCE_ROWS])
        scores = importance(inputs.workload.learner, inputs.network, rows[picks], targets[picks])
        return self.tuned(structured(inputs.workload.learner, inputs.network, keep, scores))

    def tuned(self, network: torch.nn.Module) -> torch.nn.Module:
        """Any network after learning on from outcomes and from the teachers."""
        inputs, search = self._inputs, self._params.search
        own = _tuning(inputs, self._params, search.epochs)
        return fine_tuned(inputs.workload, network, self._examples, own, self._teachers, search.teacher_share)

    @cached_property
    def _examples(self) -> Dataset:
        return subset(self._inputs.training, self._params.search.rows, self._inputs.model.seed)

    @cached_property
    def _teachers(self) -> list[torch.nn.Module]:
        inputs, search = self._inputs, self._params.search
        if not (search.teacher_members and search.teacher_hidden):
            return [inputs.network]
        return ensemble(
            inputs.workload,
            inputs.network,
            self._examples,
            inputs.model,
            search.teacher_hidden,
            search.teacher_members,
        )


def _tuning(inputs: CompressionInputs, params: CompressionParams, epochs: int) -> ModelParams:
    """How a small network learns on, in so many epochs."""
    search = params.search
    return inputs.model.model_copy(
        update={"epochs": epochs, "learning_rate": search.learning_rate, "batch_size": search.batch_size}
    )


def with_rounding(
    inputs: CompressionInputs, params: CompressionParams, network: torch.nn.Module, form: str
) -> torch.nn.Module:
    """The network after fine-tuning with 8-bit rounding, for where rounding afterwards costs too much."""
    search = params.search
    examples = subset(inputs.training, search.rows, inputs.model.seed)
    gentle = _tuning(inputs, params, search.rounding_epochs)
    gentle = gentle.model_copy(update={"learning_rate": search.learning_rate / 10})
    steps = 64 if form == "reduced" else 127
    return quantisation_aware(inputs.workload, network, examples, gentle, [inputs.network], steps)
