"""Make the compiled code of this environment, so that nobody waits for it later."""

import sys
import time

from fieldloop.core.console import say
from fieldloop.workloads.agriculture.world.compiled import store


def main() -> int:
    if (reason := store.why_not()) is not None:
        say(f"compiled season: none ({reason}); the aquacrop package itself is used, hundreds of times slower")
        return 0
    began = time.monotonic()
    core = store.core()
    say(f"compiled season: ready in {core.folder} ({time.monotonic() - began:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
