//! The methods of relative timeouts.
//!
//! See [`methods`](super::methods) for why this is a macro.

/// Writes the timeout of one direction into a type that has a field `fd`: its setter and its getter.
macro_rules! timeout_methods {
    ($generics:tt $type:ty: read) => {
        $crate::net::timeouts::timeout_methods!(
            $generics $type, $crate::net::methods::Mode::Read, set_read_timeout, read_timeout, "read",
            "set_read_deadline", "input", "A read that makes progress and goes on, as `read_exact`, gets the time anew."
        );
    };
    ($generics:tt $type:ty: write) => {
        $crate::net::timeouts::timeout_methods!(
            $generics $type, $crate::net::methods::Mode::Write, set_write_timeout, write_timeout, "write",
            "set_write_deadline", "space", "A write that makes progress and goes on, as `write_all`, gets the time anew."
        );
    };
    ($generics:tt $type:ty: accept) => {
        $crate::net::timeouts::timeout_methods!(
            $generics $type, $crate::net::methods::Mode::Read, set_timeout, timeout, "accept",
            "set_deadline", "a connection", "`incoming` waits for a free descriptor without this limit."
        );
    };

    (
        [$($generics:tt)*] $type:ty, $mode:expr, $set:ident, $get:ident, $operation:literal, $deadline:literal,
        $what:literal, $anew:literal
    ) => {
        impl<$($generics)*> $type {
            #[doc = concat!("Sets for how long each ", $operation, " may wait for ", $what, " before it fails with `TimedOut`;")]
            /// `None`, the default, ends that. It stays in force until it is set again, for awaited operations, `poll_*`
            /// functions and the traits alike, so it also limits a library that this value was given to.
            #[doc = $anew]
            ///
            /// The time begins when the operation waits; one that need not wait costs nothing more. Polls and futures that wait for
            /// readiness share one time: it begins when the first of them finds nothing, and ends when one of them finds
            /// something; one that comes after the time has passed makes its call first. An operation that waits for its
            /// [turn](crate::net#turns) has the same time for that.
            ///
            /// A timeout ends one operation, not the connection: the next one tries again, and waits as long.
            #[doc = concat!("With [`", $deadline, "`](Self::", $deadline, ") the earlier end counts, and once that deadline has")]
            /// passed every operation fails. A timeout of a second or more may take a few milliseconds longer, and none is
            /// shorter. A wait that has begun already gets the new time from now on. A `dup` and a conversion have no timeouts.
            ///
            /// # Errors
            ///
            /// Returns `InvalidInput` for zero, as std does; an error if it is closed.
            pub fn $set(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.fd().set_timeout($mode, timeout).map_err(|error| self.error(stringify!($set), error))
            }

            #[doc = concat!("Returns for how long each ", $operation, " may wait, or `None` if that has no limit.")]
            ///
            /// # Errors
            ///
            /// Returns an error if it is closed.
            pub fn $get(&self) -> io::Result<Option<Duration>> {
                let timeout = self.fd().with(|_| Ok(self.fd().timeout($mode)));
                timeout.map_err(|error| self.error(stringify!($get), error))
            }
        }
    };
}

pub(crate) use timeout_methods;
