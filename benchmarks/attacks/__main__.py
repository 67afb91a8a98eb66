"""The process in which attacks are listed or one of them is carried out; `benchmarks/adversary.py` starts it.

    python -m benchmarks.attacks list MODULE
    python -m benchmarks.attacks MODULE NAME SCRATCH ANSWER

The attacks of a module as JSON on standard output; or what came of one attack, as JSON in the file ANSWER.
"""

import json
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

from benchmarks.attacks import Attack, attacks_of


def main() -> None:
    """List, or carry out."""
    if sys.argv[1] == "list":
        plain = [field.name for field in fields(Attack) if field.name != "carry_out"]
        found = [{name: getattr(attack, name) for name in plain} for attack in attacks_of(sys.argv[2])]
        print(json.dumps(found))
        return
    module, name, scratch, answer = sys.argv[1:]
    (attack,) = (attack for attack in attacks_of(module) if attack.name == name)
    started_s = time.monotonic()
    outcome = attack.carry_out(Path(scratch))
    seconds = time.monotonic() - started_s
    Path(answer).write_text(json.dumps({**asdict(outcome), "seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    main()
