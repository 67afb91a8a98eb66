"""The crop model: as it is trained, and as a device's file has it."""
