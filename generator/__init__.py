"""From campaigns to datasets: sampling UEs, tracing paths, writing shards."""
