"""Recorded runs of CityFlow and exact comparison with them: `traces` reads, `verify` replays, `comparison` compares."""
