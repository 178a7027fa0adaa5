"""What the target ``kubernetes`` is made of: pure functions decide, `cluster` asks and tells."""
