"""Measuring where the cost model only expects: which of the likely ways is the fastest here."""
