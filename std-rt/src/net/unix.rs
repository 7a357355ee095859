//! Unix sockets: streams, messages, and descriptors handed to other processes.
