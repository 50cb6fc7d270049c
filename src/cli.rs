//! The command line: `serve` by default, `config` beside it; every setting a flag.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::{Config, Settings};

/// Self-hosted upload-and-process image service.
#[derive(Debug, Parser)]
#[command(name = "pixmill", version, about, after_help = "Every option is also an environment variable (PIXMILL_…) and a line in pixmill.toml.")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration file [default: ./pixmill.toml if it exists]
    #[arg(long = "config", env = "PIXMILL_CONFIG", value_name = "FILE", global = true)]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Take uploads in and work on them (the default)
    Serve,
    /// Print the effective configuration, in the syntax of pixmill.toml
    Config,
}

impl Cli {
    /// The command and the effective configuration.
    ///
    /// # Errors
    /// When the file cannot be read or the settings do not make sense; the text names the place.
    pub fn resolve(self) -> anyhow::Result<(Command, Config)> {
        let file = match &self.file {
            Some(path) => Some(path.clone()),
            None => Some(PathBuf::from("pixmill.toml")).filter(|path| path.exists()),
        };
        let from_file = match file {
            Some(path) => {
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                Settings::from_toml(&text).with_context(|| format!("in {}", path.display()))?
            }
            None => Settings::default(),
        };
        let config = Config::resolve(self.settings.over(from_file))?;
        Ok((self.command.unwrap_or(Command::Serve), config))
    }
}

/// What is printed when the service is up: the address first, then three lines to paste.
#[must_use]
pub fn greeting(url: &str) -> String {
    format!(
        "pixmill listening on {url}\n\n  \
         curl -F file=@photo.jpg {url}/v1/images\n  \
         curl -F file=@photo.jpg -F 'variant=small=rs:fit:640:640/f:webp' {url}/v1/images\n  \
         curl -F file=@photo.jpg -F w=640 -F gray=1 {url}/v1/process -o small.jpg\n"
    )
}
