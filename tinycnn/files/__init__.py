"""Files in general: atomic writing, locks, free space, and limits on unpacked sizes."""
