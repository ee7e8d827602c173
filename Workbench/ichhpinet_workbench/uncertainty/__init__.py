"""Uncertainty that means something: two branches, two directions, calibration, error detection, the stroke's gain."""
