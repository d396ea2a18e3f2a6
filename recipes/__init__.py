"""Recipes: one YAML per experiment."""
