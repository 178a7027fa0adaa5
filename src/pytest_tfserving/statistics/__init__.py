"""How far the figures of a run can be believed."""
