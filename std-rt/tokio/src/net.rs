//! TCP, UDP and Unix sockets, and pipes.
