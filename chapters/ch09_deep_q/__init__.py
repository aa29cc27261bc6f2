"""Chapter folder: notebook, labs, exercises."""
