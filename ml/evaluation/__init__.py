"""What a model is worth: metrics, what they are measured on, and what the measurements say about trusting it."""
