"""A model behind a web address, in the words of OpenAI's API."""
