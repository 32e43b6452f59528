"""The figures of the field, drawn from values alone."""
