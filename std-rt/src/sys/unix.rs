//! Unix sockets: bind, connect, accept.
