"""Tests of Jungle."""
