"""What the verbs print: text and JSON from a study's records. Heavy, so imported inside the commands."""
