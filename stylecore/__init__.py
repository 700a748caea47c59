"""Neural style transfer: VGG, Gatys' optimization of a picture and Johnson's transformation networks."""
