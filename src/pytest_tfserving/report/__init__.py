"""Reports for people and machines: terminal, JUnit properties, JSON, HTML, Markdown."""
