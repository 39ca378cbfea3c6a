//! The shop's own processes, which may be killed at any moment and are started again, as an init system would.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// A process of the shop: its command line, and the process while it runs.
pub struct Program {
    pub name: String,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Program {
    pub fn new(
        name: &str,
        arguments: &[&str],
        settings: Vec<(String, String)>,
        folder: PathBuf,
    ) -> Program {
        Program {
            name: name.to_owned(),
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            settings,
            folder,
            child: Mutex::new(None),
        }
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(crate::support::program());
        command
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts it unless it runs. True: it had ended by itself.
    pub async fn keep_running(&self) -> bool {
        let mut child = self.child.lock().await;
        let had_ended = match child.as_mut() {
            Some(running) => match running.try_wait().expect("its state") {
                None => return false,
                Some(_) => true,
            },
            None => false,
        };
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.expect("a log");
        let started = self.command().stdout(Stdio::null()).stderr(log).spawn();
        *child = Some(started.expect("the program"));
        had_ended
    }

    /// `kill -9`, wherever it is at that moment.
    pub async fn kill(&self) {
        if let Some(mut child) = self.child.lock().await.take() {
            // It may have ended by itself just now.
            let _ = child.start_kill();
            let _ = child.wait().await;
        }
    }

    /// Runs another command line with the same settings to its end, and answers what it says.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(crate::support::program());
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        let output = command.output();
        let output = tokio::time::timeout(Duration::from_secs(60), output)
            .await
            .expect("an end")
            .expect("the program");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }
}
