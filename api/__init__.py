"""The AWS protocol edge, the operations behind it, and the admin server."""
