"""What a compression earns: named terms with stated ranges, one weighted sum, gates that close on cheating."""
