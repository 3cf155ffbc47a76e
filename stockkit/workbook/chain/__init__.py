"""A run of the chain: what it plans, its folder, its steps side by side, how it ends, and how it goes on."""
