"""The tabs of the page, each with its endpoints."""
