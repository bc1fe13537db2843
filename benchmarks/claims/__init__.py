"""One module a claim: each measures it, prints it beside its target, and keeps the raw figures as JSON."""
