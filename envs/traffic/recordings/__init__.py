"""Recorded runs of CityFlow, and equality with them: `traces` reads, `verify` plays, `comparison` compares."""
