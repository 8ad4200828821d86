"""Entry points: the command line and the Textual application. The only layer that knows both."""
