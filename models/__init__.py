"""Localization models, one folder each, under the benchmark's contract."""
