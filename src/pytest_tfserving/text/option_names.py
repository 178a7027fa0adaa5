"""Names of options, as messages and settings have them."""

PREFIX = "tfserving"
ALLOWED_INI = f"{PREFIX}_allowed_contexts"
