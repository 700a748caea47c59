"""What the page offers, without a page: stylizing, painting, the catalogue of styles."""
