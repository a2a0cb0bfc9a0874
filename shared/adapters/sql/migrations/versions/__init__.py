"""One module per revision, named NNNN_what_changed.py. A published revision is never edited."""
