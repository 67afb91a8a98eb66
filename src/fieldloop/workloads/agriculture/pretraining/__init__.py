"""How a fresh crop model is taught to decide, on simulated seasons of the fields that are known."""
