"""The model registry: every version with all that it is made of, and which one devices should run."""
