"""How long a test waits for another process or thread before it says that it hangs.

No test passes or fails by being quick: what is waited for comes in a fraction of this on any machine, busy or slow.
"""

PATIENCE_S = 1800.0
