"""`python -m flows`: the season flow by hand. Kept apart so that worker processes need not load Prefect again."""

from flows.beginning import run_from_terminal

if __name__ == "__main__":
    run_from_terminal("season")
