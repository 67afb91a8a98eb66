"""Staged rollouts: who gets a version when, what its devices report, and what follows from it.

`machine.py` decides and touches nothing; `evidence.py` counts what devices reported, `statistics.py` says what the
counts prove. `engine.py` carries out what was decided, through the signed repository; `store.py` keeps where each
rollout stands, and `ledger.py` which version each device had, when and why.
"""
