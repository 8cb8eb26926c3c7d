//! A project on disk: `folk.toml`, `worker.php` and whatever they need.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Ended, Folk, until};

/// The whole `folk.toml` of most stories; what differs is set with `-o`.
const SETTINGS: &str = r#"
[http]
listen = "127.0.0.1:0"

[pools.default]
script = "worker.php"
workers = 2
"#;

/// What every handler can count on.
const PRELUDE: &str = r#"
/** Takes its time, as a slow request does: until the story lets it go on. */
function wait_for(string $file): void
{
    touch("$file.waiting");
    while (!file_exists($file)) {
        usleep(2000);
    }
}
"#;

/// A directory with a project. Kept, and its place told, when its story fails.
pub struct Project {
    directory: Option<TempDir>,
}

impl Project {
    /// A project without a worker script.
    pub fn empty() -> Self {
        let directory = tempfile::Builder::new().prefix("folk-story-").tempdir().unwrap();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        let project = Self { directory: Some(directory) };
        project.write("folk.toml", SETTINGS);
        project
    }

    /// A project whose handler, written with the PHP package, is `handler`: it has a `$request`.
    pub fn serving(handler: &str) -> Self {
        let project = Self::empty();
        project.write_handler(handler);
        project
    }

    /// A project whose worker script is `code`, without its `<?php`.
    pub fn running(code: &str) -> Self {
        let project = Self::empty();
        project.write("worker.php", &format!("<?php {code}"));
        project
    }

    /// Replaces the handler.
    pub fn write_handler(&self, handler: &str) {
        let autoload = autoload().display().to_string();
        let script = format!(
            "<?php require '{autoload}';\n{PRELUDE}\n\
             Folk\\serve(function (Folk\\Request $request) {{\n{handler}\n}});\n"
        );
        self.write("worker.php", &script);
    }

    /// Writes a file, whole at once: a worker never sees half of it.
    pub fn write(&self, name: &str, text: &str) {
        let aside = self.path(&format!("{name}.new"));
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, self.path(name)).unwrap();
    }

    /// Waits until a request stands in `wait_for($file)`.
    pub fn wait_for_request_at(&self, file: &str) {
        self.wait_for_file(&format!("{file}.waiting"));
    }

    /// Waits until there is such a file.
    pub fn wait_for_file(&self, name: &str) {
        until(&format!("file {name}"), || self.path(name).exists().then_some(()));
    }

    /// Lets the requests that stand in `wait_for($file)` go on.
    pub fn let_go(&self, file: &str) {
        self.write(file, "");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().unwrap().path().join(name)
    }

    /// The uploads and bodies in the directory for temporary files.
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        self.temporary(|kind| kind.is_file())
    }

    /// The sockets there that workers have not connected to yet.
    pub fn temporary_sockets(&self) -> Vec<PathBuf> {
        self.temporary(|kind| kind.is_socket())
    }

    /// Whether there is nothing of any kind.
    pub fn is_tidy(&self) -> bool {
        fs::read_dir(self.path("tmp")).unwrap().next().is_none()
    }

    fn temporary(&self, wanted: impl Fn(FileType) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.path("tmp")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                    Ok(kind) if wanted(kind) => found.push(entry.path()),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        found
    }

    /// Serves it with these settings beside those of `folk.toml`, and waits until it listens.
    pub fn serve(&self, settings: &[&str]) -> Folk<'_> {
        let folk = self.spawn(settings);
        folk.wait_until_it_listens();
        folk
    }

    /// Starts to serve it, and waits for nothing.
    pub fn spawn(&self, settings: &[&str]) -> Folk<'_> {
        Folk::spawn(self, &serve_with(settings), &[])
    }

    /// As [`serve`](Self::serve), with more in the environment of the server.
    pub fn serve_with_env(&self, settings: &[&str], env: &[(&str, &str)]) -> Folk<'_> {
        let folk = Folk::spawn(self, &serve_with(settings), env);
        folk.wait_until_it_listens();
        folk
    }

    /// Serves the `folk.toml` at this path, from the directory of this project.
    pub fn serve_file(&self, file: &str) -> Folk<'_> {
        let folk = Folk::spawn(self, &["serve", "-c", file].map(str::to_owned), &[]);
        folk.wait_until_it_listens();
        folk
    }

    /// Serves it below a shell that first runs `limits`, as `ulimit -n 64`.
    pub fn serve_limited(&self, limits: &str, settings: &[&str]) -> Folk<'_> {
        let folk = Folk::spawn_below_shell(self, limits, &serve_with(settings));
        folk.wait_until_it_listens();
        folk
    }

    /// Tries to serve it, and waits for the end of that.
    pub fn fail_to_serve(&self, settings: &[&str]) -> Ended {
        self.spawn(settings).wait_for_end()
    }

    /// As [`fail_to_serve`](Self::fail_to_serve), below a shell that first runs `limits`.
    pub fn fail_to_serve_limited(&self, limits: &str, settings: &[&str]) -> Ended {
        Folk::spawn_below_shell(self, limits, &serve_with(settings)).wait_for_end()
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str], env: &[(&str, &str)]) -> Ended {
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        Folk::spawn(self, &arguments, env).wait_for_end()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("the files of this story are kept in {}", directory.keep().display());
        }
    }
}

/// The PHP package of this tree.
pub fn autoload() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../php/autoload.php").canonicalize().unwrap()
}

/// A PHP file beside the stories.
pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories/php").join(name);
    path.display().to_string()
}

fn serve_with(settings: &[&str]) -> Vec<String> {
    let mut arguments = ["serve", "-c", "folk.toml"].map(str::to_owned).to_vec();
    for setting in settings {
        arguments.extend(["-o".to_owned(), (*setting).to_owned()]);
    }
    arguments
}
