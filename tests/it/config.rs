//! Flags over environment over file, and the effective configuration as a file that reads back.

use std::{path::Path, process::Output};

use crate::support::process::pixmill;

fn config(folder: &Path, environment: &[(&str, &str)], flags: &[&str]) -> Output {
    pixmill(folder).envs(environment.iter().copied()).arg("config").args(flags).output().expect("runs")
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn flags_win_over_environment_over_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("pixmill.toml"),
        "workers = 3\nmax-pixels = 5\nmax-frames = 7\n[presets]\nhero = \"w:1600\"\n[watermarks]\nlogo = \"a.png\"\nold = \"o.png\"\n",
    )
    .expect("written");
    let environment = [("PIXMILL_MAX_PIXELS", "6"), ("PIXMILL_WORKERS", "4")];
    let text =
        printed(&config(folder.path(), &environment, &["--workers", "2", "--preset", "icon=rs:fill:32:32", "--watermark", "logo=b=1.png"]));
    for line in [
        "workers = 2",
        "max-pixels = 6",
        "max-frames = 7",
        "hero = \"w:1600\"",
        "icon = \"rs:fill:32:32\"",
        "listen = \"127.0.0.1:8080\"",
        "logo = \"b=1.png\"",
        "old = \"o.png\"",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = printed(&config(
        folder.path(),
        &[],
        &[
            "--memory-budget",
            "1.5GiB",
            "--job-deadline",
            "90s",
            "--public-url",
            "https://x.example/",
            "--trusted-proxies",
            "10.1.0.0/16, unix",
        ],
    ));
    assert!(first.contains("memory-budget = \"1536MiB\"") && first.contains("public-url = \"https://x.example\""), "{first}");
    assert!(first.contains("trusted-proxies = \"10.1.0.0/16,unix\""), "{first}");
    let file = folder.path().join("other.toml");
    std::fs::write(&file, &first).expect("written");
    let again = printed(&config(folder.path(), &[], &["--config", file.to_str().expect("UTF-8")]));
    assert_eq!(again, first);
    assert_eq!(printed(&config(folder.path(), &[("PIXMILL_CONFIG", file.to_str().expect("UTF-8"))], &[])), first);
    assert!(!folder.path().join("uploads").exists(), "printing makes no folders");
}

#[test]
fn what_makes_no_sense_is_said_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    for (flags, hint) in [
        (&["--workers", "0"][..], "1 to 1024"),
        (&["--memory-budget", "1MB"], "16 MiB"),
        (&["--max-connections", "0"], "max-connections is 0, at least 1 is needed"),
        (&["--max-file-bytes", "10", "--max-request-bytes", "5"], "max-request-bytes"),
        (&["--preset", "x=widht:1"], "widht"),
        (&["--watermark", "logo.png"], "watermark is \"logo.png\", expected name=file"),
        (&["--wrokers", "2"], "--workers"),
        (&["--config", "absent.toml"], "absent.toml"),
        (&["--log-format", "xml"], "json"),
        (&["--public-url", "ftp://x.example"], "http://"),
        (&["--path-prefix", "pix/"], "path-prefix: \"pix/\""),
        (&["--trusted-proxies", "10.0.0.0/8,proxy.example"], "trusted-proxies: \"proxy.example\" is not a network"),
        (&["--allowed-hosts", "https://x.example"], "allowed-hosts: \"https://x.example\" is not a host"),
        (&["--cors-origins", "app.example.com"], "cors-origins: \"app.example.com\" is not an origin"),
    ] {
        let output = config(folder.path(), &[], flags);
        assert!(!output.status.success(), "{flags:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(hint) && !said.contains("panicked"), "{flags:?}: {said}");
    }
    std::fs::write(folder.path().join("pixmill.toml"), "wrokers = 3\n").expect("written");
    let output = config(folder.path(), &[], &[]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("wrokers"));
}
