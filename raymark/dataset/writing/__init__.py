"""Writing datasets: from paths, whoever found them, to a finished folder; no tracer is needed."""
