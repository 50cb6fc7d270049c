//! What the programs of the comparisons share: orders read a line at a time, an answer to each, and files read once.

use std::{
    collections::HashMap,
    error::Error,
    fs,
    io::{self, BufRead, Write},
    rc::Rc,
};

/// Files by path, read once and kept.
#[derive(Default)]
pub(crate) struct Files(HashMap<String, Rc<[u8]>>);

impl Files {
    pub(crate) fn read(&mut self, path: &str) -> Result<Rc<[u8]>, Box<dyn Error>> {
        if let Some(bytes) = self.0.get(path) {
            return Ok(Rc::clone(bytes));
        }
        let bytes: Rc<[u8]> = fs::read(path)?.into();
        self.0.insert(path.to_owned(), Rc::clone(&bytes));
        Ok(bytes)
    }
}

/// Answers the one order given (fields parted by commas), or all that come on standard input, one a line, fields parted by tabs.
pub(crate) fn answer_all(
    only: Option<String>,
    mut answer: impl FnMut(&[&str]) -> Result<String, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    if let Some(order) = only {
        println!("{}", answer(&order.split(',').collect::<Vec<_>>())?);
        return Ok(());
    }
    let mut answers = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        match answer(&line.split('\t').collect::<Vec<_>>()) {
            Ok(answer) => writeln!(answers, "ok\t{answer}")?,
            Err(error) => writeln!(answers, "error\t{error}")?,
        }
        answers.flush()?;
    }
    Ok(())
}
