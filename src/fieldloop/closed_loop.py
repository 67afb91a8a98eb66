"""A unit's period in this process, stepped by the device's half of its workload: what following a model is worth.

The episode, the question, the model's call and the answer are the device's own. Where the contract does not take what a
model decided, the workload's rule decides, as on a device.
"""

from collections.abc import Callable, Iterable, Iterator

from fieldedge.contract import MODEL, Record
from fieldedge.system.errors import DataError
from fieldedge.workload import Decision, Predict, Question, Workload, ask, decision_values
from fieldloop.source import Environment, Message


def told(
    device: Workload, environment: Environment, decide: Callable[[Message], Record]
) -> Iterator[tuple[str, Record]]:
    """The records of a period as a device takes them in, each with its table, from the context to the outcome.

    `decide` answers what the environment asks, once all that was told before is out. Notes are no records.
    """

    def records(messages: Iterable[Message]) -> Iterator[tuple[str, Record]]:
        for message in messages:
            if (name := device.messages.get(message["kind"])) is not None:
                table, values = device.contract.table(name), message["record"]
                if table.role == "action":  # whoever tells of one says that it was done
                    values = {"basis": "confirmed", **values}
                yield name, device.contract.record(name, values, message["kind"])

    yield from records([environment.context()])
    while not environment.is_over:
        yield from records(environment.events())
        yield from records(environment.apply(decide(environment.question())))
    yield from records([*environment.events(), environment.ending()])


def live(device: Workload, environment: Environment, predict: Predict | None) -> Record:
    """The outcome of a period under a model; without one, under the device's own rule.

    Raises:
        DataError: a message, or a decision of the rule, breaks the contract.
    """
    contract = device.contract

    def decided(question: Question, decision: Decision) -> Record:
        values = decision_values(contract, context, question, decision, "tried", None)
        return {**values, **contract.record(contract.decision_table.name, values, f"decision of {question.at}")}

    def decide(asked: Message) -> Record:
        question = episode.question(asked[contract.decided_at.name], lambda _kind: ())
        decision = episode.answer(question, *ask(question, contract, predict))
        try:
            return decided(question, decision)
        except DataError as error:
            if decision.source != MODEL:
                raise
            return decided(question, episode.answer(question, None, str(error)))

    records = told(device, environment, decide)
    _, context = next(records)
    episode = device.begin(context)
    for table, record in records:
        episode.fold(table, record)
    return environment.outcome()
