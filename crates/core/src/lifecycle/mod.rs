//! How the server begins and ends: phases, and the signals that move them.

pub mod signals;

pub use signals::{Order, orders_from_signals};
