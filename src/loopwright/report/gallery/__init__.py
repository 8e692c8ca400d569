"""The page of a text-picture model: what it painted and wrote, beside what it learned from."""
