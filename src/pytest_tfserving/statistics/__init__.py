"""Statistics: intervals, sequential evidence and steady states of the figures of a run."""
