"""Ways to run one network: torch on any device, OpenVINO on CPUs; and the check that they say the same."""
