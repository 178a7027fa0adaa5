"""SLOs: metrics, language, sequential tests and verdicts."""
