"""What outlives a call: its record in the database, its flight record on disk, and the spool for when the database is down."""
