"""AWS: the session that everything else is handed."""
