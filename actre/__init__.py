"""ActRe Lab."""
