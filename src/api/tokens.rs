//! Bearer tokens: who it is that asks. A token is read from its file when it is needed and kept nowhere.

use std::path::Path;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::settings::{Role, Token};

/// A token that is shorter could be guessed; `openssl rand -hex 32` makes one of 64.
const SHORTEST: usize = 32;

/// Longer is no token.
const LONGEST: u64 = 4096;

/// Somebody who may ask.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub role: Role,
    /// As the journal shows it: a token's name, or the user at the other end of the socket.
    pub name: Arc<str>,
}

/// Whose token `presented` is. Every token is compared, in constant time, so that the time tells nothing.
pub(super) async fn owner(tokens: &[Token], presented: &str) -> Option<Caller> {
    let mut found = None;
    for Token { name, role, file } in tokens {
        let same = match read(file).await {
            Ok(token) => bool::from(token.as_bytes().ct_eq(presented.as_bytes())),
            Err(why) => {
                tracing::warn!(event = "token-unusable", token = %name, file = %file.display(), why, "no token is read");
                false
            }
        };
        if same {
            found = Some(Caller { role: *role, name: name.clone() });
        }
    }
    found
}

/// Reads every token once.
///
/// # Errors
/// The first file that holds none, and why.
pub(super) async fn check(tokens: &[Token]) -> Result<(), String> {
    for token in tokens {
        read(&token.file).await.map_err(|why| format!("the token file {} {why}", token.file.display()))?;
    }
    Ok(())
}

async fn read(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = File::open(file).await.map_err(|error| format!("can't be opened: {error}"))?;
    let read = opened.take(LONGEST).read_to_string(&mut text).await;
    // The error of a file that is not text would not hold any of it.
    read.map_err(|error| format!("can't be read: {error}"))?;
    let token = text.trim();
    if token.len() < SHORTEST || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(format!("holds no token, expected at least {SHORTEST} letters, digits and signs"));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWER: &str = "0123456789abcdef0123456789abcdef";
    const OPERATOR: &str = "fedcba9876543210fedcba9876543210";

    #[tokio::test]
    async fn a_token_is_its_owners_and_a_changed_file_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let token = |name: &str, role, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            Token { name: name.into(), role, file }
        };
        let tokens = [
            token("viewer", Role::Viewer, &format!("{VIEWER}\n")),
            token("operator", Role::Operator, OPERATOR),
            token("short", Role::Operator, "hunter2"),
            token("empty", Role::Operator, "\n"),
        ];
        let check = async |presented: &str, expected: Option<Role>| {
            assert_eq!(owner(&tokens, presented).await.map(|caller| caller.role), expected, "{presented:?}");
        };
        check(VIEWER, Some(Role::Viewer)).await;
        check(OPERATOR, Some(Role::Operator)).await;
        for unknown in ["", "\n", "hunter2", &VIEWER[1..], &format!("{VIEWER}0")] {
            check(unknown, None).await;
        }
        std::fs::write(&tokens[0].file, OPERATOR.to_uppercase()).unwrap();
        check(VIEWER, None).await;
        check(&OPERATOR.to_uppercase(), Some(Role::Viewer)).await;
        std::fs::remove_file(&tokens[0].file).unwrap();
        check(&OPERATOR.to_uppercase(), None).await;
    }

    #[tokio::test]
    async fn a_file_without_a_token_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("short");
        std::fs::write(&file, "hunter2").unwrap();
        let why = check(&[Token { name: "a".into(), role: Role::Viewer, file }]).await.unwrap_err();
        assert!(why.contains("short holds no token") && !why.contains("hunter2"), "{why}");
    }
}
