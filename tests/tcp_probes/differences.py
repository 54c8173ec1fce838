"""Where our TCP differs from Linux's on purpose: probe, what ours answers, and why."""

DIFFERENCES = {}
