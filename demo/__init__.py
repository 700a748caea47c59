"""The page: a photo in the style of a painting, in one pass or watched step by step."""
