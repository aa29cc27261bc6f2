"""The chapters of the book, one folder each: a notebook, its labs, its exercises."""
