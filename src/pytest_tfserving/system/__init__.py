"""Interface to the operating system: processes, signals, locks, files."""
