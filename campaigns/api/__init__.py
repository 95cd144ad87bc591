"""REST: campaigns as documents, what is done with them, what they did, their words and the contact policy."""
