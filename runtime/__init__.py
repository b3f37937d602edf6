"""The edge node: the processes that run scans on time and connect them to field and supervisor."""
