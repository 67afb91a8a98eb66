"""One loaded model as it is asked: with its own reference statistics, and the slices in which the rule decides."""

import logging
from dataclasses import replace
from typing import NamedTuple

from fieldedge.contract import Record
from fieldedge.inference.loading import LoadedModel
from fieldedge.inference.ood import OodDetector
from fieldedge.inference.slices import doubt_in
from fieldedge.system.errors import ReleaseError
from fieldedge.workload import Array, Question, Workload, ask, opening_kind

_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a model said: outputs (K, outputs), or why it abstained. `failed` is why it could not be run; with
    `is_left_to_rule` its bundle itself says that the rule decides there."""

    outputs: Array | None
    abstained: str | None
    failed: str | None = None
    is_left_to_rule: bool = False


class Adviser:
    """A model with its doubts; one without a model abstains from everything."""

    def __init__(self, loaded: LoadedModel | None, workload: Workload) -> None:
        self._workload, self._contract = workload, workload.contract
        self._predict = None if loaded is None else loaded.model.predict
        self._slices = () if loaded is None else loaded.slices
        reference = None if loaded is None else loaded.reference
        self._ood = None if reference is None else OodDetector(reference, self._contract, workload.extrapolated)

    def as_asked(self, question: Question) -> Question:
        """The question with what lies beyond this model's training."""
        if self._ood is None:
            return replace(question, extrapolated=())
        return replace(question, extrapolated=self._ood.extrapolated(question.features))

    def ask(self, context: Record, question: Question) -> Answer:
        """What the model says to it, or why it abstains."""
        kind = opening_kind(self._workload)
        strange = None if self._ood is None else self._ood.doubt
        doubt = doubt_in(self._slices, context, self._contract, kind, strange)
        try:
            outputs, abstained = ask(question, self._contract, self._predict, doubt)
        except ReleaseError as error:
            _log.error("the model abstains on %s: %s", question.at, error)
            return Answer(None, str(error), failed=str(error))
        is_left = outputs is None and bool(self._slices) and self._is_left_to_rule(context, question)
        return Answer(outputs, abstained, is_left_to_rule=is_left)

    def _is_left_to_rule(self, context: Record, question: Question) -> bool:
        kind = opening_kind(self._workload)
        return doubt_in(self._slices, context, self._contract, kind)(question.features) is not None
