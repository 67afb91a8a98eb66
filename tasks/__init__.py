"""Prefect tasks: one thin wrapper per step of the loop, with its retries, caching, timeout and artifacts.

Beside them stand six functions that are no tasks: `require_devices`, `accepted_content`, `next_period`,
`champion_before`, `last_word` and `goes_out_in_stages` ask a stage what a flow must know between two steps, anew in
each run. They stand here because a task imports its stage when it runs, and so must they: reading a flow loads none.
"""
