"""What comes out of a study, as files and as text for a terminal."""
