"""Users' video and audio files in and out, through ffmpeg."""
