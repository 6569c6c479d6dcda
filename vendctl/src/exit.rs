//! How a command ended.

use std::process::ExitCode;

/// How a command ended, for programs: the process's exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: something is broken here or on the server.
    Failed,
    /// 2: the command or its input is wrong; nothing was done.
    Usage,
    /// 3: the server refused it, or there is no such thing.
    Refused,
    /// 4: no credential, a bad one, or one that may not do this.
    Denied,
    /// 5: the server can't be reached, is too busy, or did not answer in time; a write may have happened.
    Unavailable,
}

impl Exit {
    /// The number that a shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Denied => 4,
            Self::Unavailable => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
