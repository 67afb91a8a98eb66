"""The sample world: fields grown by AquaCrop under real daily weather, seen through faulty sensors.

Everything is decided by a seed: the same seed gives the same fields, the same faults and the same harvest on any
number of workers and in any order. Nothing here is used by a device, and nothing here knows of a model.
"""
