"""Evaluate and register: the challenger's version in the registry, and what the gate says of it."""

from dataclasses import asdict, replace

from fieldedge.system.errors import ReleaseError
from fieldloop.core.git import git_commit
from fieldloop.evaluation.gate import NO_CHAMPION_YET, Absent, Rival, Verdict, judge
from fieldloop.evaluation.predictor import predictor
from fieldloop.registry.model_registry import Champion, ModelRegistry
from fieldloop.release import ReleaseRepository
from fieldloop.stages.access import read_judging_tables, terms_of, training_periods, unjudging
from fieldloop.stages.context import Loop, contract_of, metadata_of
from fieldloop.stages.examples import held_out_examples
from fieldloop.stages.refs import RegisteredRef, SnapshotRef, write_json
from fieldloop.stages.workload import workload_of
from fieldloop.training.trained import Trained
from fieldloop.workload import FloorValues, Predict, Scores


def evaluate_and_register(loop: Loop, data: SnapshotRef, trained: Trained) -> RegisteredRef:
    """Challenger against champion and anchor on the held-out periods; `champion` moves only if the gate says so.

    Raises:
        ReleaseError: there is no version that devices may run; the message says why and what to do.
        StoreBusy: another was promoted while this one was judged: nothing was promoted, and the next run judges anew.
    """
    from fieldloop.compression import export_float32  # torch: a cached result is asked only whether it stands
    from fieldloop.training.networks import load_network, network_folder

    workload, contract, terms = workload_of(loop), contract_of(loop), terms_of(loop, data)
    folder = network_folder(trained, workload)
    network = load_network(folder, workload)
    path = export_float32(network, len(contract.features), metadata_of(loop), folder / "challenger.onnx")
    held_out = held_out_examples(loop)
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    standing = registry.champion_version()  # read before it is compared with: what moves from here on is refused
    found = _none_lost(loop, registry, registry.champion(terms, trained.mlflow_run_id))
    champion = found if isinstance(found, Champion) else None
    anchor = None
    if champion is not None:
        anchor = registry.anchor(terms, trained.mlflow_run_id, champion.version)

    predict = predictor(path)

    def scores(predict: Predict) -> Scores:
        return workload.score(predict, held_out)

    def floor() -> FloorValues | None:
        seen, unseen = training_periods(loop, data), loop.params.gates.held_out_periods
        tables = read_judging_tables(loop, seen), read_judging_tables(loop, unseen)
        standing = None if champion is None else champion.predict
        return workload.floor(*tables, held_out, predict, loop.params, champion=standing)

    verdict = judge(
        scores(predict),
        scores(champion.predict) if champion else None,
        champion.version if champion else None,
        loop.params.gates,
        anchor=Rival(anchor.version, scores(anchor.predict)) if anchor else None,
        absent=NO_CHAMPION_YET if isinstance(found, Champion) else found,
        floor=floor,
        is_deployment=loop.settings.is_deployment,
    )
    former = found.version if isinstance(found, Champion) else found.runnable
    known_as = registry.version_of_run(trained.mlflow_run_id)
    if known_as is not None:
        verdict = _behind_what_came_after(verdict, known_as, former, registry.chosen_instead_of(known_as))
    example = contract.scale(held_out.inputs[:4])
    commit = git_commit(loop.settings.root)
    beside = None if standing is None else str(standing.version)
    registered = registry.register(trained, path, example, verdict, terms, commit, beside)
    written = write_json(folder / "verdict.json", {**verdict.as_dict(), "registered": asdict(registered)})
    serving = registered.version if registered.is_champion else former
    if serving is None:
        raise ReleaseError(
            f"version {registered.version} of {loop.workload} cannot be released ({verdict.reason}), and there is no "
            "other that devices can run; look at the run in MLflow (`make ui`), then change the model's block in "
            f"params.yaml, or let a person release it: fieldloop promote {loop.workload} {registered.version}"
        )
    reason = registered.reason if registered.is_champion else verdict.reason
    return RegisteredRef(registered.version, serving, registered.is_champion, reason, str(written))


def stands(loop: Loop, registered: RegisteredRef) -> bool:
    """Whether the registry has the version, and its champion is the one that the result names."""
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    champion = registry.champion_version()
    is_theirs = champion is not None and str(champion.version) == registered.champion_version
    return is_theirs and registry.has(registered.version)


def _behind_what_came_after(verdict: Verdict, version: str, champion: str | None, chosen: str | None) -> Verdict:
    """The same, but that a version which is judged again takes the place of none that came, or was chosen, after it.

    Args:
        champion: what devices can run now.
        chosen: what a person promoted when there was this version to choose.
    """
    if chosen is not None:
        why = f"a person promoted version {chosen} when there was this one to choose"
    elif champion is not None and int(version) < int(champion):
        why = f"version {champion}, which was registered after it, is the champion"
    else:
        return verdict
    reason = (
        f"kept back: {why}; a person may promote version {version} all the same; it was judged again, and the gate "
        f"said: {verdict.reason}"
    )
    return replace(verdict, is_promoted=False, reason=reason) if verdict.is_promoted else verdict


def _none_lost(loop: Loop, registry: ModelRegistry, found: Champion | Absent) -> Champion | Absent:
    """The same, unless devices have a release and the registry no champion: then its store was lost or exchanged."""
    if not isinstance(found, Absent) or registry.champion_version() is not None or not loop.paths.tuf.is_dir():
        return found
    released = ReleaseRepository(loop.paths.tuf).current(loop.workload)
    if found.is_damage or released is None:
        return found
    return Absent(
        f"devices are offered version {released.version}, and the registry knows of no champion: its store was lost, "
        "or is another one",
        is_damage=True,
    )


def last_word(loop: Loop) -> str:
    """What persons said last, by a promotion or of whose a unit is: with another word challengers are judged anew."""
    word = ModelRegistry(loop.settings.tracking_uri, workload_of(loop)).last_word()
    return f"{word}{unjudging(loop, loop.params.gates.held_out_periods)}"
