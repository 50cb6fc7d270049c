//! The command line: `serve` by default, `config`, `explain`, `scrub` and `backup` beside it; every setting a flag.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use image_pipeline::{Spec, plan_with, probe};

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
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Take uploads in and work on them (the default)
    Serve,
    /// Print the effective configuration, in the syntax of pixmill.toml
    Config,
    /// Print the description of the HTTP interface (OpenAPI 3.1)
    Openapi,
    /// Print what would be done with an image, what it takes and what it holds, without doing it
    Explain {
        /// The image
        #[arg(value_name = "FILE")]
        image: PathBuf,
        /// Options of each variant, as rs:fit:320:320/f:webp or pr:thumbnail
        #[arg(required = true)]
        options: Vec<String>,
    },
    /// Copy the catalog and list what it names, with --blobs all stored files as well; may run beside the service. Ends with 3 when stored files are
    /// missing or damaged and the backup is without them
    Backup {
        /// An empty folder, or one that is not there yet
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
        /// Take the stored files, too: as second names (hard links) on the same file system, else as copies; FOLDER is a data folder then
        #[arg(long)]
        blobs: bool,
    },
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

/// The plan as text: a line for each stage, with a rough time and the memory held meanwhile.
///
/// # Errors
/// When the file cannot be read or is no image that is taken in, options do not parse, or the work passes the limits; the text says which.
pub fn explain(config: &Config, file: &Path, options: &[String]) -> anyhow::Result<String> {
    let limits = config.ingest.image;
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let bytes = opened.metadata().with_context(|| format!("cannot read {}", file.display()))?.len();
    let found = probe(&mut BufReader::new(opened), &limits).with_context(|| file.display().to_string())?;
    let specs = options.iter().map(|text| Spec::parse(text, &config.presets).with_context(|| format!("options {text:?}")));
    let specs = specs.collect::<anyhow::Result<Vec<Spec>>>()?;
    let watermarks = config.read_watermarks()?;
    let planned = plan_with(&found, &specs, &limits, &watermarks).with_context(|| file.display().to_string())?;
    Ok(format!("{}\n", planned.explain(bytes)))
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
    use image_pipeline::{OPTIONS, Presets, Spec};

    use crate::config::{Config, Settings};

    use super::{Cli, explain};

    const README: &str = include_str!("../README.md");
    const REFERENCE: &str = include_str!("../docs/options.md");
    const PICTURES: &str = include_str!("../crates/image-pipeline/examples/option_pictures/main.rs");

    fn holds(table: &str) {
        assert!(README.contains(table), "README.md should hold this table:\n{table}");
    }

    #[test]
    fn a_plan_is_explained_or_refused_in_words() {
        let config = Config::resolve(Settings::default()).expect("defaults are sensible");
        let folder = tempfile::tempdir().expect("makes a folder");
        let path = folder.path().join("photo.png");
        image::RgbImage::new(640, 480).save(&path).expect("writes");
        let options = ["rs:fit:320:320/f:jpg".to_owned(), "pr:thumbnail".to_owned()];
        let text = explain(&config, &path, &options).expect("explains");
        assert!(text.starts_with("decode png 640x480 rgb"), "{text}");
        assert!(
            text.contains("variant 0: encode picture ") && text.contains(" jpeg 320x240 quality 80 ") && text.contains("variant 1:"),
            "{text}"
        );
        assert!(text.ends_with(" bytes\n") && text.contains(" MiB held"), "{text}");
        let refused =
            |path: &std::path::Path, options: &str| format!("{:#}", explain(&config, path, &[options.to_owned()]).expect_err("refuses"));
        assert!(refused(&path, "widht:1").contains("did you mean"), "{}", refused(&path, "widht:1"));
        assert!(refused(&folder.path().join("nowhere.jpg"), "w:1").starts_with("cannot open "));
        std::fs::write(&path, "<html>").expect("writes");
        assert!(!refused(&path, "w:1").is_empty());
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
    fn the_reference_has_every_option_once_with_its_range_and_a_picture() {
        for row in OPTIONS {
            let short = if row.short == row.name { String::new() } else { format!("`{}`", row.short) };
            let others: Vec<String> = row.aliases.iter().map(|name| format!("`{name}`")).collect();
            let cells = [short, others.join(" "), row.range_text(), row.default.to_owned(), row.what.to_owned()];
            let line = format!("| `{}` | {} | ", row.name, cells.join(" | "));
            let found: Vec<&str> = REFERENCE.lines().filter(|found| found.starts_with(&format!("| `{}` |", row.name))).collect();
            assert!(
                found.len() == 1 && found[0].starts_with(&line),
                "docs/options.md should have one row that begins with\n{line}\nand has {found:?}"
            );
            // The four others, and what the picture is made with: as scripts/option-pictures does.
            let last: Vec<&str> = found[0][line.len()..].trim_end_matches(" |").split(" | ").collect();
            let options = last.last().expect("a cell").trim_matches('`');
            assert!(last.len() == 5 && PICTURES.contains(&format!("(\"{}\", \"{options}\", ", row.name)), "{}: {last:?}", row.name);
            assert!(Spec::parse(options, &Presets::builtin()).is_ok(), "{options}");
        }
        let rows = REFERENCE.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, OPTIONS.len(), "no rows of options that are not there");
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
