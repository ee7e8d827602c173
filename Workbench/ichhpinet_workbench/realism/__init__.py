"""Is the generator like reality, where reality is at hand: brain, noise, borders of lesions, volumes, components."""
