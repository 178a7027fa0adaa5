"""Target ``docker`` and its parts."""
