"""One sparse transformer over text and pictures: it paints from words and writes about pictures."""
