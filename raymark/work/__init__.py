"""Work spread over processes and machines, and what it costs."""
