//! `setpoint drive`: the decision code as a filter, so that any simulator can close the loop around it.
//!
//! One JSON object a line goes in and one comes out. It needs no daemon and no network, and time is what the lines say.

mod answer;
mod line;
mod object;

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use self::answer::{Answer, Refusal};
use self::line::Line;
use self::object::Fault;
use super::check::EX_CONFIG;
use crate::config;
use crate::control::{ControllerState, Outcome, evaluate, settle};
use crate::observation::Observation;
use crate::policy::{Mode, Policy};
use crate::rehearsal::Warming;

/// The longest line in bytes; thousands of instances fit.
const MAX_LINE: usize = 1 << 20;

/// What is read from a pipe at once.
const CHUNK: usize = 1 << 16;

/// Drives the policy `name` of the configuration in `file` by the lines of the standard input.
pub(super) fn command(file: &Path, name: &str) -> anyhow::Result<ExitCode> {
    let policies = match config::load(file, config::environment()) {
        Ok(config) => config.policies,
        Err(findings) => {
            eprintln!("{findings}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    let Some(policy) = policies.iter().find(|policy| *policy.name == *name) else {
        let names = policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>().join(", ");
        eprintln!("setpoint: {} has no policy {name:?}, it has: {names}", file.display());
        return Ok(ExitCode::from(EX_CONFIG));
    };
    let reader = BufReader::with_capacity(CHUNK, io::stdin().lock());
    match run(reader, io::stdout().lock(), policy.clone()) {
        // Whoever reads may stop reading.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        outcome => outcome.map(|()| ExitCode::SUCCESS).context("the loop broke off"),
    }
}

/// Answers each line of `reader` with a line to `writer`, as `policy` decides; [`Mode::Observe`] counts as
/// [`Mode::Active`], since nothing is touched.
///
/// What is written is flushed whenever `reader` has no further whole line at hand, so a peer may wait for each answer.
///
/// # Errors
/// Where reading or writing fails. A line that can't be understood is answered with an error object instead, and
/// changes nothing.
pub fn run(mut reader: impl BufRead, writer: impl Write, policy: Policy) -> io::Result<()> {
    let mut drive = Drive::new(policy, BufWriter::with_capacity(CHUNK, writer));
    loop {
        let chunk = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        let length = chunk.len();
        if length == 0 {
            return drive.end();
        }
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            drive.read(piece)?;
        }
        reader.consume(length);
        drive.writer.flush()?;
    }
}

/// The loop around one policy, between two lines.
struct Drive<W: Write> {
    policy: Policy,
    state: ControllerState,
    warming: Warming,
    /// What has come of the line that is being read, without its end; one byte more than [`MAX_LINE`] at most.
    line: Vec<u8>,
    /// Lines answered.
    answered: u64,
    writer: BufWriter<W>,
}

impl<W: Write> Drive<W> {
    fn new(mut policy: Policy, writer: BufWriter<W>) -> Self {
        if policy.mode == Mode::Observe {
            policy.mode = Mode::Active;
        }
        let warming = Warming::new(policy.warm_up);
        Self { policy, state: ControllerState::default(), warming, line: Vec::new(), answered: 0, writer }
    }

    /// Takes a piece of a line; where the line ends with it, answers.
    fn read(&mut self, piece: &[u8]) -> io::Result<()> {
        let whole = piece.strip_suffix(b"\n");
        let piece = whole.unwrap_or(piece);
        let room = MAX_LINE + 1 - self.line.len();
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        if whole.is_some() { self.answer() } else { Ok(()) }
    }

    /// A last line needs no end.
    fn end(mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.answer()?;
        }
        self.writer.flush()
    }

    fn answer(&mut self) -> io::Result<()> {
        self.answered += 1;
        let parsed = text(&self.line).and_then(|text| Line::parse(text, &self.policy));
        self.line.clear();
        match parsed {
            Ok(line) => self.decide(line)?,
            Err(fault) => serde_json::to_writer(&mut self.writer, &Refusal::new(self.answered, fault))?,
        }
        self.writer.write_all(b"\n")
    }

    /// The decision counts as applied at the moment that the line tells.
    fn decide(&mut self, line: Line) -> io::Result<()> {
        let Line { at, measurements, signals, mut group, warm, ordered } = line;
        let derived = self.warming.see(group.in_service, at);
        group.warm = warm.unwrap_or(derived);
        let seen = Observation { measurements, signals, group: Some(group), ordered, ..Observation::default() };
        let (evaluation, state) = evaluate(&self.policy, std::mem::take(&mut self.state), &seen, at);
        self.state = settle(state, &evaluation.decision, &Outcome::Applied, at);
        Ok(serde_json::to_writer(&mut self.writer, &Answer::new(&evaluation, group.desired))?)
    }
}

fn text(line: &[u8]) -> Result<&str, Fault> {
    if line.len() > MAX_LINE {
        return Err(Fault::new(format!("is longer than {MAX_LINE} bytes")));
    }
    str::from_utf8(line).map_err(|error| Fault::new(format!("is not UTF-8: {error}")))
}
