"""Files in general: atomic writing, locks, free space, and limits on what a file may unpack to."""
