//! The command line: `serve` by default, `config` and `scrub` beside it; every setting a flag.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::{ByteSize, Config, Settings};

/// Self-hosted upload-and-process image service.
#[derive(Debug, Parser)]
#[command(
    name = "pixmill",
    version,
    about,
    after_help = "Every option is also an environment variable (PIXMILL_…) and a line in pixmill.toml."
)]
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
    /// Print the description of the HTTP interface (OpenAPI 3.1)
    Openapi,
    /// Read everything stored and say what is damaged or missing; may run beside the service, and ends with 1 when something is
    Scrub {
        /// Most bytes read a second
        #[arg(long, value_name = "SIZE", default_value = "64MiB")]
        rate: ByteSize,
    },
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
    let (curl, base) = match url.strip_prefix("unix:") {
        Some(path) => (format!("curl --unix-socket {path}"), "http://localhost"),
        None => ("curl".to_owned(), url),
    };
    format!(
        "pixmill listening on {url}\n\n  \
         {curl} -F file=@photo.jpg {base}/v1/images\n  \
         {curl} -F file=@photo.jpg -F 'variant=small=rs:fit:640:640/f:webp' {base}/v1/images\n  \
         {curl} -F file=@photo.jpg -F w=640 -F gray=1 {base}/v1/process -o small.jpg\n"
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use image_pipeline::{OPTIONS, Presets};

    use super::Cli;

    const README: &str = include_str!("../README.md");

    fn holds(table: &str) {
        assert!(README.contains(table), "README.md should hold this table:\n{table}");
    }

    #[test]
    fn the_readme_has_every_setting_with_its_default() {
        let mut table = "| flag | environment | default | what |\n|---|---|---|---|\n".to_owned();
        for arg in Cli::command().get_arguments().filter(|arg| arg.get_env().is_some()) {
            let flag = arg.get_long().expect("every setting is a flag");
            let env = arg.get_env().and_then(|env| env.to_str()).expect("in ASCII");
            let help = arg.get_help().expect("every setting says what it is").to_string();
            let (what, default) = match help.split_once(" [default: ") {
                Some((what, default)) => (what, default.trim_end_matches(']')),
                None => (help.as_str(), "none"),
            };
            table.push_str(&format!("| `--{flag}` | `{env}` | {default} | {what} |\n"));
        }
        holds(&table);
    }

    #[test]
    fn the_readme_has_every_option_with_its_range() {
        let mut table = "| option | short (and other spellings) | values | default | what |\n|---|---|---|---|---|\n".to_owned();
        for row in OPTIONS {
            let others: Vec<String> = row.spellings().skip(1).map(|name| format!("`{name}`")).collect();
            let cells = [row.range_text(), row.default.to_owned(), row.what.to_owned()];
            table.push_str(&format!("| `{}` | {} | {} |\n", row.name, others.join(" "), cells.join(" | ")));
        }
        holds(&table);
    }

    #[test]
    fn the_readme_has_every_preset() {
        let mut table = "| preset | options |\n|---|---|\n".to_owned();
        for (name, options) in Presets::builtin().iter() {
            table.push_str(&format!("| `{name}` | `{options}` |\n"));
        }
        holds(&table);
    }
}
