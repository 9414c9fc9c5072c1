"""Generated cities: grids with vehicles, and a city of 96 signals derived from Manhattan's street network."""
