"""How the tables came to be: run by `agent/storage/migrate.py` whenever a database is opened."""
