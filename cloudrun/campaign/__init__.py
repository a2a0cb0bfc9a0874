"""The campaign job: tasks of a registered walk-forward campaign, as one of many parallel instances."""
