"""Localizers that match what was measured with what a city's map has at candidate points."""
