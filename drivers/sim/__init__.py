"""Simulated devices: plants and faulty peers to try programs, drivers and people on."""
