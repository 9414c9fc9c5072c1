"""Tables of the pages about algorithms and environments, from published results; `figures.documents` writes them."""
