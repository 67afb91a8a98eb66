"""Agriculture in the cloud. `workload.py` is what the loop asks of it; the device's half is `fieldedge`'s."""
