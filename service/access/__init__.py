"""Who may call the service: keys, sessions of the browser page, rules, limits, the audit log."""
