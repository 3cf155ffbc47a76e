"""The body of a notebook's page, which takes long, apart from the page around it, which takes milliseconds."""
