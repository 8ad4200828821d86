"""Episodes to rows: windows with mosaic, sound, sensor features and answers (formats sections 1.4, 2.4)."""
