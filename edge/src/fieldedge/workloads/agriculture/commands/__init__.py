"""The verbs of the agriculture workload on the device's command line, a module each."""
