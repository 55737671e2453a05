"""Send damaged and malicious files to a running service, and count what they break."""
