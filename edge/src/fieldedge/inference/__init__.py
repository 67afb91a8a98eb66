"""The model on the device: its bundle and slots, its trial, its answers, and how far it may be asked.

A new bundle is tried in a process of its own (`trial.py`) before anything follows it; what a process starts from is
chosen and tested once more by `loading.py`; `model.py` answers. Whether this machine's ONNX Runtime computes what it
should is `onnxruntime_check.py`'s.
"""
