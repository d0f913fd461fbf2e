//! The commands that the docs show.

use std::fmt;

use super::page::{Block, Place};

/// One line at a prompt, with what its continuations add.
#[derive(Clone, Debug)]
pub struct Command {
    pub place: Place,
    pub text: String,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// One program of a pipeline.
pub struct Call {
    pub program: String,
    pub arguments: Vec<String>,
}

impl Command {
    /// Its programs. Variables set before a program, redirections and comments are left out.
    pub fn calls(&self) -> Vec<Call> {
        let words = shlex::split(&self.text).unwrap_or_else(|| panic!("{self}: a quote is not closed"));
        let pipeline = words.split(|word| matches!(word.as_str(), "|" | "&&"));
        pipeline.map(|words| call(words).unwrap_or_else(|| panic!("{self}: no program"))).collect()
    }

    /// The arguments of each `setpoint` in it; `cargo run` is one too.
    pub fn of_setpoint(&self) -> Vec<Vec<String>> {
        self.calls().into_iter().filter_map(Call::of_setpoint).collect()
    }
}

impl Call {
    fn of_setpoint(self) -> Option<Vec<String>> {
        match (self.program.as_str(), self.arguments.first().map(String::as_str)) {
            ("setpoint", _) => Some(self.arguments),
            ("cargo", Some("run")) => {
                Some(self.arguments.into_iter().skip_while(|word| word != "--").skip(1).collect())
            }
            _ => None,
        }
    }
}

fn call(words: &[String]) -> Option<Call> {
    let is_variable = |word: &&String| word.split_once('=').is_some_and(|(name, _)| name == name.to_uppercase());
    let words = words.iter().skip_while(is_variable).take_while(|word| !matches!(word.as_str(), ">" | "<"));
    let mut words = words.cloned();
    Some(Call { program: words.next()?, arguments: words.collect() })
}

/// The commands of a block: after the prompts of a console, every line of a script, and what begins with `setpoint` where
/// an indentation does not say what it is.
pub fn commands(block: &Block) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for (offset, line) in block.text.lines().enumerate() {
        let line = line.trim();
        if goes_on {
            let last = found.last_mut().expect("a line goes on from one before");
            last.text = format!("{} {}", last.text.trim_end_matches('\\'), line);
        } else if let Some(text) = begins(&block.language, line) {
            // The fence is a line of its own.
            let line = block.place.line + offset + usize::from(!block.language.is_empty());
            found.push(Command { place: Place { line, ..block.place.clone() }, text: text.into() });
        } else {
            continue;
        }
        goes_on = line.ends_with(['\\', '|']);
    }
    found
}

fn begins<'a>(language: &str, line: &'a str) -> Option<&'a str> {
    match language {
        "console" => line.strip_prefix("$ ").or(line.strip_prefix("# ")),
        "sh" | "bash" => Some(line).filter(|line| !line.is_empty()),
        "" => Some(line).filter(|line| line.starts_with("setpoint ")),
        _ => None,
    }
}
