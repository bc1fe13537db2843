"""One module a row of the table: what is measured in a round, and which lines come of its rounds."""
