"""Word problems: where they come from, the calculator of their solutions, and the number in a model's answer."""
