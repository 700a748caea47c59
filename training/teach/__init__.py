"""Teach a network one painting within minutes, from the nearest network there is: `python -m training.teach`."""
