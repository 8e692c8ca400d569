"""Where stages run: in this process, or one child process per attempt."""
