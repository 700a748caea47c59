"""Lessons: visitors teach networks their own paintings, one after the other."""
