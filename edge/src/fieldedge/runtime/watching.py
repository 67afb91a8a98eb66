"""A new model on watch: the former one is asked beside it at each decision, and the watch ends by itself.

What is answered is the new model's, through the same guardrails as ever; what the former would have said is only
noted, in the same transaction as the decision. So a power cut leaves both or neither, and whoever starts next ends a
watch that was decided and not yet ended. Going back is a change of one small file: the former model is loaded already.
"""

import logging
from contextlib import AbstractContextManager

from fieldedge.contract import MODEL, Record
from fieldedge.contract.update_report import State
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.attempts import MODEL_EVENT, asking
from fieldedge.inference.loading import LoadedModel
from fieldedge.inference.pointer import TakenBack
from fieldedge.inference.watch import Seen, Verdict, divergence_sd, report, tally, verdict
from fieldedge.runtime.adviser import Adviser, Answer
from fieldedge.storage.store import Store, Watched
from fieldedge.system.errors import FieldloopError
from fieldedge.workload import Decision, Episode, Question, Workload

_log = logging.getLogger(__name__)


class Watching:
    """The watch of a loaded model. `loaded.watch` is not None."""

    def __init__(self, loaded: LoadedModel, config: DeviceConfig, workload: Workload, store: Store) -> None:
        assert loaded.watch is not None  # noqa: S101 - whoever watches has a watch
        self._loaded, self._watch = loaded, loaded.watch
        self._config, self._workload, self._store = config, workload, store
        self._adviser = None if self.former is None else Adviser(self.former, workload)
        self._rows = self._stored()

    @property
    def former(self) -> LoadedModel | None:
        return self._watch.former

    def asking(self) -> AbstractContextManager[None]:
        """The block in which the model is asked and its decision kept: a process that dies there is counted."""
        return asking(self._watch.slots, self._loaded.installed)

    def seen(
        self,
        context: Record,
        episode: Episode,
        question: Question,
        answer: Answer,
        decision: Decision,
        record: Record,
    ) -> Watched | None:
        """What one decision says of the model; None where no model could have been asked for it.

        `record` is the decision as it is stored. Whatever goes wrong with the former model speaks against nobody.
        """
        if question.doubt is not None:
            return None
        former, would = self._of_former(context, episode, question)
        is_excused = answer.is_left_to_rule or (former is not None and former.outputs is None)
        was_given = former is None or (former.outputs is not None and would is not None)
        stands = would is None or would.source == MODEL
        seen = Seen(
            record_id=record["record_id"],
            latency_ms=record["latency_ms"],
            abstained=answer.abstained if answer.outputs is None and was_given and not is_excused else None,
            overruled=answer.outputs is not None and decision.source != MODEL and was_given and stands,
            failed=answer.failed,
            divergence=self._divergence(former, answer),
            former=None if would is None else {**would.values, "source": would.source},
        )
        return Watched(self._loaded.installed.bundle_sha256, seen.as_record())

    def add(self, watched: Watched) -> None:
        """This was stored with its decision."""
        self._rows.append(dict(watched.body))

    def end(self) -> tuple[bool, LoadedModel | None]:
        """End the watch if what was seen so far says so: whether it is over, and the model that decides from now on.

        Where the disk does not let it be written down, it is ended here all the same, and written down at the next
        start.
        """
        ended = self._verdict()
        if ended is not None:
            self._rows = self._stored()  # what another process saw counts as well
            ended = self._verdict()
        if ended is None:
            return False, self._loaded
        write = self._confirm if ended.is_confirmed else self._go_back
        try:
            write(ended)
        except (FieldloopError, OSError) as error:
            _log.error("the end of the watch of %s is not written yet: %s", self._loaded.installed.version, error)
        return True, self._loaded if ended.is_confirmed else self.former

    def _of_former(
        self, context: Record, episode: Episode, question: Question
    ) -> tuple[Answer | None, Decision | None]:
        """What the former model says to the same question, and what would be decided by it."""
        if self._adviser is None:
            return None, None
        try:
            asked = self._adviser.as_asked(question)
            answer = self._adviser.ask(context, asked)
            return answer, episode.answer(asked, answer.outputs, answer.abstained)
        except Exception:  # noqa: BLE001  (the former model has no say: what it does ends no decision)
            _log.exception("the former model says nothing of %s", question.at)
            return None, None

    def _divergence(self, former: Answer | None, new: Answer) -> float | None:
        spread = None if self.former is None else self.former.spread
        if former is None or former.outputs is None or new.outputs is None or spread is None:
            return None
        return divergence_sd(former.outputs, new.outputs, spread)

    def _verdict(self) -> Verdict | None:
        limits, rows = self._config.watch, self._rows
        if len(rows) < min(limits.judged_from, limits.decisions) and all(row["failed"] is None for row in rows):
            return None  # mostly: there is nothing to reckon
        return verdict(tally(rows), limits, has_former=self.former is not None)

    def _stored(self) -> list[Record]:
        return self._store.watched(self._loaded.installed.bundle_sha256)

    def _confirm(self, ended: Verdict) -> None:
        installed = self._loaded.installed
        reason = f"version {installed.version} is confirmed: {ended.reason}"
        if self._watch.slots.confirm(installed, reason, self._report("confirmed", ended.reason)):
            self._tell(reason)

    def _go_back(self, ended: Verdict) -> None:
        installed = self._loaded.installed
        after = "the workload's rule" if self.former is None else f"version {self.former.installed.version}"
        reason = f"version {installed.version} was taken back: {ended.reason}; {after} decides again"
        taken_back = TakenBack(installed.version, installed.bundle_sha256, ended.reason, self._store.utc())
        if self._watch.slots.go_back(installed, reason, taken_back, self._report("reverted", ended.reason)):
            self._tell(reason)

    def _report(self, state: State, reason: str) -> bytes:
        installed, former = self._loaded.installed, None if self.former is None else self.former.installed
        seen = tally(self._rows)
        said = report(
            self._config.device_id, self._store.utc(), self._workload.name, installed, former, state, reason, seen
        )
        return said.as_json()

    def _tell(self, text: str) -> None:
        _log.warning("%s", text)
        try:
            self._store.add_event(MODEL_EVENT, text)
        except FieldloopError as error:
            _log.warning("that could not be kept: %s", error)
