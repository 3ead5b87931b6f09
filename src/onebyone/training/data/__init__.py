"""What networks are trained on: one file a source, and one table of their names."""
