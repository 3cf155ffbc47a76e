"""The chain: a run from its plan to its report."""
