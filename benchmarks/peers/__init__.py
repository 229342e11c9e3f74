"""The same pictures through the same network into Umbel and into what else one could use."""
