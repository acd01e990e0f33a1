"""Grids of noise levels, one file for each."""
