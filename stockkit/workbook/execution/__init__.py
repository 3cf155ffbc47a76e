"""Notebooks in fresh kernels: limits of time and output, secrets struck out, and no process left behind."""
