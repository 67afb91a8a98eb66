"""The model card of a version, Markdown: in the registry, and, without its last part, in every bundle."""

from collections.abc import Mapping
from typing import Any

from fieldloop.core.words import Words
from fieldloop.evaluation.gate import Verdict
from fieldloop.training.trained import Trained
from fieldloop.workload import CardWords, Scores

IN_REGISTRY = "## In the registry"
SHIPPING = "## What ships"
MAX_NAMED = 5  # groups that it names, of those that nothing was learned from


def model_card(
    name: str, version: str, trained: Trained, verdict: Verdict, tags: dict[str, Any], words: CardWords, called: Words
) -> str:
    """The model card of a version, Markdown: what it is for, what it learned from, how good it is, what it is not."""
    learned = f"{trained.episodes} {words.groups} ({trained.examples} {words.examples})"
    rows = [_score_row("this version", verdict.challenger, words)]
    if verdict.champion is not None:
        rows.append(_score_row(f"champion before (version {verdict.champion_version})", verdict.champion, words))
    return "\n".join(
        [
            f"# {name}, version {version}",
            "",
            words.purpose,
            "",
            f"Learned from {learned}{_left_out(trained)}, "
            f"data `{tags['data_hash']}`, code `{tags['git_commit']}`, contract `{tags['contract_hash'][:12]}`.",
            "",
            f"| held-out {called.periods} | {' | '.join(column.heading for column in words.columns)} |",
            f"{'| --- ' * (1 + len(words.columns))}|",
            *rows,
            "",
            f"Gate: {verdict.reason}.",
            "",
            *_slices(verdict, called),
            f"Limits: {words.limits}",
            "",
            IN_REGISTRY,
            "",
            f"MLflow run `{trained.mlflow_run_id}`.",
        ]
    )


def _slices(verdict: Verdict, called: Words) -> list[str]:
    """Where the model is worse than the rule, as a table with an empty line; nothing where it is nowhere."""
    if verdict.floor is None or not verdict.worse_slices:
        return []
    unit = verdict.floor.metric.unit
    rows = [
        f"| {one.words} | {one.units} | {one.measured:+.0f} | {one.expected:+.0f} | {one.low:+.0f} | "
        f"{'the rule decides' if one.where else 'no device can know it'} |"
        for one in verdict.worse_slices
    ]
    head = f"| worse than the rule | {called.units} | measured, {unit} | expected | lower 90 % end | devices |"
    return [head, "| --- " * 6 + "|", *rows, ""]


def _left_out(trained: Trained) -> str:
    if not trained.left_out:
        return ""
    named = [f"{name} ({reason})" for name, reason in list(trained.left_out.items())[:MAX_NAMED]]
    more = f" and {len(trained.left_out) - MAX_NAMED} more" if len(trained.left_out) > MAX_NAMED else ""
    return f", without {len(trained.left_out)} that cannot be learned from: {'; '.join(named)}{more}"


def shipping_card(report: Mapping[str, Any]) -> str:
    """What ships to each class of devices and why, as a report of compression says, Markdown."""
    if not report["by_class"]:
        return str(report["reason"])
    rows = [
        f"| {name} | {choice['ships']} | {choice['bytes'] / 1000:.0f} kB | {choice['reason']} "
        f"| {choice['parity_on']} | {choice['timed_on']} |"
        for name, choice in report["by_class"].items()
    ]
    head = "| devices | file | size | why | numbers compared on | timed on |"
    on = f"Quantiser and rounding were chosen on {report['chosen_on']}; files were judged on {report['judged_on']}."
    return "\n".join([f"In this bundle: {report['reason']}.", "", head, "| --- " * 6 + "|", *rows, "", on])


def _score_row(label: str, scores: Scores, words: CardWords) -> str:
    return f"| {label} | {' | '.join(one.written.format(scores.figures[one.key]) for one in words.columns)} |"
