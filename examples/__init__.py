"""Small programs that tests run and the documents show."""
