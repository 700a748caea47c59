"""The optimization of a picture by Gatys, Ecker and Bethge (2015, 2016)."""
