"""Pictures through a trained network: on any device, of any size, with strokes of any size."""
