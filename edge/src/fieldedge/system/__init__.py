"""What any program of the device stands on: errors, disk, locks, clock, keys, HTTP, limits, a schedule of steps."""
