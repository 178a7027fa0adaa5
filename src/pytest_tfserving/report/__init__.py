"""What people and machines get to read: terminal, JUnit properties, JSON."""
