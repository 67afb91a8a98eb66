"""One device: its directory and its settings."""
