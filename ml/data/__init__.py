"""Labelled images for training: read once, freed of duplicates, split without leaks."""
