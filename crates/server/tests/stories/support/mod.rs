//! What the stories are told with: a project on disk, the real server over it, a plain client.

pub mod client;
pub mod folk;
pub mod load;
pub mod log;
pub mod process;
pub mod project;
pub mod wait;

pub use client::{Answer, Ask, Client};
pub use folk::{Ended, Folk};
pub use load::Load;
pub use project::Project;
pub use wait::{PATIENCE, until};
