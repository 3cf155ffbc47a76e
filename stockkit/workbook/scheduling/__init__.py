"""One run after each session of an exchange: when it is due, its lines for cron or systemd, and how they get there."""
