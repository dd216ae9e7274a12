"""Which groups stay float: cost, latency, plan."""
