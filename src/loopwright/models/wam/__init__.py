"""The world action model: sees, acts, reads motion, and imagines what comes next."""
