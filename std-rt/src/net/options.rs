//! The options of sockets, each written and documented once, for whichever types have it.
//!
//! A type that takes them has a method `option(&self, op, call)` that makes `call` with the descriptor and says of an
//! error which operation it was. [`fd_options!`] gives it to a type with a field `fd` that is an [`Fd`](crate::fd::Fd)
//! and a method `error`.

mod ip;
mod tcp;

pub(crate) use ip::{bind_device, device, set_ttl};
pub(crate) use ip::{device_options, ip_options, reuse_options, socket_options};
pub use tcp::Keepalive;
pub(crate) use tcp::{fastopen_options, quickack_option, tcp_options, v6only_option};
pub(crate) use tcp::{keepalive, set_keepalive, set_linger, set_user_timeout, user_timeout};

use std::io;

/// One option: its setter and its getter.
macro_rules! option {
    (
        $type:ty, $value:ty;
        $(#[$set_doc:meta])* $set:ident = $setter:path;
        $(#[$get_doc:meta])* $get:ident = $getter:path;
    ) => {
        impl $type {
            $(#[$set_doc])*
            ///
            /// # Errors
            ///
            /// Closed; what the kernel says of the value.
            pub fn $set(&self, value: $value) -> std::io::Result<()> {
                self.option(stringify!($set), |fd| $setter(fd, value))
            }

            $(#[$get_doc])*
            ///
            /// # Errors
            ///
            /// Closed.
            pub fn $get(&self) -> std::io::Result<$value> {
                self.option(stringify!($get), $getter)
            }
        }
    };
}

/// How a type with an [`Fd`](crate::fd::Fd) gets at its options.
macro_rules! fd_options {
    ($type:ty) => {
        impl $type {
            fn option<T>(
                &self,
                op: &'static str,
                call: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> std::io::Result<T>,
            ) -> std::io::Result<T> {
                self.fd.with(call).map_err(|error| self.error(op, error))
            }
        }
    };
}

pub(crate) use {fd_options, option};

/// An error that says which values there are.
fn outside(what: &str, range: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} must be within {range}"))
}
