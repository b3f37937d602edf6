"""Many runtimes: watched, recorded and commanded from another process."""
