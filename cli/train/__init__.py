"""`umbel train`: the command, one training run, the loop over a running service, and the pictures of its gallery."""
