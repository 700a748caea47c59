"""VGG-11 to VGG-19 of Simonyan and Zisserman (2015): the networks, and their weights from files of several formats."""
