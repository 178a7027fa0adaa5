"""Text from outside, and text with secrets."""
