//! The features of netpoll-rt: the traits of hyper and tokio on its types, and the system calls that hyper makes through
//! them.

#[cfg(netpoll_door)]
mod calls;
mod executors;
mod hyper_rt;
mod tokio_io;
