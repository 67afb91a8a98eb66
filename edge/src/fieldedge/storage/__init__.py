"""What the device keeps: one SQLite file, what leaves it when it is full, and how it is mended."""
