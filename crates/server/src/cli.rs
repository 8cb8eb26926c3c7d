//! The command line.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Keeps a PHP application booted and answers for it.
#[derive(Debug, Parser)]
#[command(name = "folk", version, styles = STYLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server and stay in the foreground
    #[command(after_help = "SIGTERM and SIGINT drain and end; a second one ends at once. \
                            SIGHUP takes up new code.")]
    Serve(Options),
    /// Say everything that is wrong with the configuration
    Check(CheckOptions),
}

/// What every subcommand takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The configuration
    #[arg(short = 'c', long = "config", value_name = "FILE", default_value = "folk.toml")]
    pub(crate) config: PathBuf,
    /// Set one value; may be given several times
    #[arg(short = 'o', long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What `folk check` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckOptions {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Answer with JSON
    #[arg(long)]
    pub(crate) json: bool,
}
