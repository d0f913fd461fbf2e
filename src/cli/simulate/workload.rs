//! The workloads that a command line names: generated ones, files, and folders of files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::simulation::generator::Generator;
use crate::simulation::scenario::Origin;
use crate::simulation::trace::Trace;

/// One workload.
pub(super) struct Workload {
    pub name: String,
    pub origin: Origin,
}

/// The workloads that `arguments` name, in that order; those of a folder by name.
pub(super) fn all(arguments: &[String]) -> anyhow::Result<Vec<Workload>> {
    let mut workloads = Vec::new();
    for argument in arguments {
        match Generator::ALL.into_iter().find(|generator| generator.name() == argument) {
            Some(generator) => {
                workloads.push(Workload { name: argument.clone(), origin: Origin::Generated(generator) });
            }
            None => workloads.extend(recorded(Path::new(argument))?),
        }
    }
    Ok(workloads)
}

fn recorded(path: &Path) -> anyhow::Result<Vec<Workload>> {
    if path.is_dir() {
        let files = files(path).with_context(|| format!("the folder {} can't be read", path.display()))?;
        if files.is_empty() {
            bail!("the folder {} has no file whose name ends with .csv", path.display());
        }
        return files.iter().map(|file| trace(file)).collect();
    }
    if !path.exists() {
        let names = Generator::ALL.map(Generator::name).join(", ");
        bail!("there is no workload {0:?}: expected a CSV file, a folder of these, or one of: {names}", path.display());
    }
    Ok(vec![trace(path)?])
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn trace(file: &Path) -> anyhow::Result<Workload> {
    let text = fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    let trace = Trace::read(&text).with_context(|| format!("{} is no workload", file.display()))?;
    let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Ok(Workload { name, origin: Origin::Recorded(trace) })
}
