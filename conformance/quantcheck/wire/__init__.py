"""Arrays, cases, questions and answers as JSON; the protocol and its schema."""
