//! A program that is given its input and then listened to.

use std::{io, process::Output};

use tokio::{io::AsyncWriteExt, process::Child};

/// How much of a complaint is kept: some programs repeat the line at fault, which may be megabytes.
const COMPLAINT: usize = 400;

/// Writes and reads at the same time: a program may complain before it has read everything. Returns whether all was
/// written, and what came of it.
pub(crate) async fn feed(mut child: Child, input: &str) -> (io::Result<()>, io::Result<Output>) {
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin
            && !input.is_empty()
        {
            stdin.write_all(input.as_bytes()).await?;
            stdin.shutdown().await?;
        }
        Ok(())
    };
    tokio::join!(write, child.wait_with_output())
}

/// What a program says, on one line.
pub(crate) fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text: String = text.trim().chars().take(COMPLAINT).collect();
    text.replace('\n', " ")
}
