"""The tab Your style: a visitor teaches a network their own painting."""
