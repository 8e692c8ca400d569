"""Safety in the manner of civil aviation: filter, black box, certificate, directive, occurrence."""
