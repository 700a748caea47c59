"""Applies trained networks to pictures: on any device, at any size, with strokes of any size."""
