"""Whether a device is sound and how fast it is."""
