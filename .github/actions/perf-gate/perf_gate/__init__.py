"""The steps of the action, a module each, and what they share."""
