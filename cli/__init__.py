"""`umbel`: the command line."""
