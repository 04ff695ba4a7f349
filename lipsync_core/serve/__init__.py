"""The page of `lipsync serve`: drop a face and a sound, play and download the dubbing."""
