"""Names of former versions; they go with 1.0."""
