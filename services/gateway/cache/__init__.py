"""The cache of answers: its tiers, the audited bound on their errors, and whether they pay."""
