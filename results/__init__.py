"""Run folders and published results: read, checked, and turned into tables. Draws nothing and trains nothing."""
