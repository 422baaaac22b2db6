"""Where answers are kept: exact and semantic stores, in process and in Redis, and how they forget."""
