//! Concurrent parts of Latewood on threads whose order is chosen: see `tests`.
