//! The Unix socket, whose permissions decide who may command.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Owner and group.
const PERMISSIONS: u32 = 0o660;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// A socket file that goes when this does.
#[derive(Debug)]
pub(super) struct Listener {
    pub listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`, in place of a daemon that has left its socket behind.
    ///
    /// # Errors
    /// Somebody listens there, or the file can't be made.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        remove_if_stale(path).await?;
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Before it listens, so that at no moment others than these can connect.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(PERMISSIONS))?;
        Ok(Self { listener: socket.listen(BACKLOG)?, path: path.to_owned() })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // While it still listens, so that it can't be the file of a successor.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn remove_if_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setpoint.sock");
        // The standard library's leaves its file behind, as a daemon that was killed does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = Listener::bind(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, PERMISSIONS);
        assert_eq!(Listener::bind(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).await.unwrap();
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert_eq!(Listener::bind(&path).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }
}
