//! How many files and sockets the server may have open.
//!
//! The usual soft limit of 1,024 is for programs that use `select`, which PHP may be. The server
//! raises its own to the hard limit; its workers get back what there was.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More is never needed, and some systems have no limit to raise to.
const MOST: u64 = 1 << 20;

/// Raises the soft limit of this process as far as it may go.
pub(crate) fn raise() {
    let found = getrlimit(Resource::Nofile);
    let wanted = found.maximum.unwrap_or(MOST).min(MOST);
    if found.current.is_some_and(|current| current < wanted) {
        // Refused, it stays as it was.
        let _refused =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: found.maximum });
    }
}

/// The soft limit now, for [`restore`].
pub(crate) fn current() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Sets the soft limit back.
pub(crate) fn restore(current: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum });
}
