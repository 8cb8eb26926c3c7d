//! The `php` command: how it is called, and what can be wrong with it before it is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use folk_api::BootError;

use super::ProcessSettings;

/// The oldest PHP that workers run on.
pub const OLDEST_PHP: (u32, u32) = (8, 1);

/// How long `php` may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// The command that runs `script` with `php`.
///
/// PHP's own messages go to standard error, each once: with `log_errors` on, PHP would write them
/// there a second time. OPcache is off on the command line by default, and a worker without it
/// compiles its whole application at every start. Arguments stay out of stack traces, as in
/// `php.ini-production`: they hold passwords, and traces go to the log.
pub fn php_command(php: &str, script: &Path) -> Vec<String> {
    let mut command = vec![php.to_owned()];
    for setting in [
        "display_errors=stderr",
        "log_errors=0",
        "opcache.enable_cli=1",
        "zend.exception_ignore_args=1",
    ] {
        command.extend(["-d".to_owned(), setting.to_owned()]);
    }
    command.push(script.to_string_lossy().into_owned());
    command
}

/// Looks for everything that would keep a worker from booting and can be told without booting one.
///
/// # Errors
///
/// The working directory, the program or the script does not exist, or the PHP is too old.
pub async fn check(settings: &ProcessSettings) -> Result<(), BootError> {
    let program = find_program(settings)?;
    if !is_php(&program) {
        return Ok(());
    }
    if let Some(script) = script_of(&settings.command) {
        let path = settings.directory.join(script);
        if !path.is_file() {
            return Err(missing_script(&path));
        }
    }
    check_version(&program).await
}

/// The error for a script that does not exist.
pub(crate) fn missing_script(path: &Path) -> BootError {
    BootError::new(format!(
        "script {} does not exist; `script` is relative to the directory of folk.toml",
        path.display()
    ))
}

/// The file that the first word of the command means.
///
/// # Errors
///
/// There is none, and the error says where it was looked for.
pub(crate) fn find_program(settings: &ProcessSettings) -> Result<PathBuf, BootError> {
    if !settings.directory.is_dir() {
        let directory = settings.directory.display();
        return Err(BootError::permanent(format!("working directory {directory} does not exist")));
    }
    let Some(name) = settings.command.first().filter(|name| !name.is_empty()) else {
        return Err(BootError::permanent("`command` is empty: name a program or set `script`"));
    };
    if name.contains('/') {
        let path = settings.directory.join(name);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(BootError::permanent(format!("program {} does not exist", path.display())))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file)).ok_or_else(
        || {
            let cure = if name.starts_with("php") {
                "install the PHP command line (Debian: apt install php-cli), or name it in `command`"
            } else {
                "install it, or give its path in `command`"
            };
            BootError::permanent(format!("{name} is not in PATH ({}); {cure}", path.to_string_lossy()))
        },
    )
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn is_php(program: &Path) -> bool {
    let name = program.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| {
        name.strip_prefix("php").is_some_and(|rest| {
            rest.trim_start_matches('-').chars().all(|c| c.is_ascii_digit() || c == '.')
        })
    })
}

/// The script in a command line of `php`; `None` where it has none (`-r`) or it cannot be told.
fn script_of(command: &[String]) -> Option<&str> {
    let mut words = command.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-d" | "-c" | "-z" | "--php-ini" | "--define" | "--zend-extension" => {
                words.next()?;
            }
            "-f" | "--file" => return words.next().map(String::as_str),
            "--" => return None,
            option if option.starts_with("-r") || option.starts_with("--run") => return None,
            option if option.starts_with('-') => {}
            script => return Some(script),
        }
    }
    None
}

async fn check_version(program: &Path) -> Result<(), BootError> {
    let shown = program.display();
    // Without php.ini: extensions take time to load and their complaints are not asked for here.
    let mut command = std::process::Command::new(program);
    command.args(["-n", "-r", "echo PHP_VERSION;"]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = match tokio::time::timeout(VERSION_TIMEOUT, output).await {
        Ok(Ok(Ok(output))) => output,
        Ok(Ok(Err(error))) => {
            return Err(BootError::permanent(format!("cannot run {shown}: {error}")));
        }
        Ok(Err(_)) | Err(_) => {
            return Err(BootError::new(format!("{shown} did not tell its version in time")));
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match version(&text) {
        Some(found) if found >= OLDEST_PHP => Ok(()),
        Some(_) => Err(too_old(&text, Some(program))),
        None => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = if said.trim().is_empty() { text } else { said };
            let said = said.trim().chars().take(500).collect::<String>();
            Err(BootError::permanent(format!(
                "{shown} is no working PHP command line; it said: {said}"
            )))
        }
    }
}

/// The error for a PHP that is too old.
pub(crate) fn too_old(found: &str, program: Option<&Path>) -> BootError {
    let (major, minor) = OLDEST_PHP;
    let place = program.map(|program| format!(" at {}", program.display())).unwrap_or_default();
    BootError::permanent(format!(
        "PHP {}{place} is too old: folk needs {major}.{minor} or newer; \
         install one, or name another in `command`",
        found.trim()
    ))
}

/// Major and minor of a version as PHP tells it.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn finds_the_script_among_the_options_of_php() {
        let with_options = php_command("php", Path::new("worker.php"));
        assert_eq!(script_of(&with_options), Some("worker.php"));
        assert_eq!(script_of(&command(&["php", "-n", "-f", "a.php", "b"])), Some("a.php"));
        assert_eq!(script_of(&command(&["php", "artisan", "serve"])), Some("artisan"));
        assert_eq!(script_of(&command(&["php", "-r", "echo 1;"])), None);
        assert_eq!(script_of(&command(&["php"])), None);
    }

    #[test]
    fn knows_php_by_the_names_that_distributions_give_it() {
        for name in ["/usr/bin/php", "php8.2", "/opt/php-8.4", "php82"] {
            assert!(is_php(Path::new(name)), "{name}");
        }
        for name in ["sh", "/usr/bin/phpunit", "php-wrapper"] {
            assert!(!is_php(Path::new(name)), "{name}");
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named_with_its_cure() {
        let settings = ProcessSettings::new(command(&["php-that-is-not-there", "a.php"]), "/");
        let error = check(&settings).await.unwrap_err();
        assert!(error.permanent);
        assert!(error.message.contains("php-that-is-not-there is not in PATH"), "{error}");
        assert!(error.message.contains("apt install php-cli"), "{error}");
    }

    #[tokio::test]
    async fn a_script_that_is_not_there_is_named_with_its_whole_path() {
        let dir = tempfile::tempdir().unwrap();
        let settings = ProcessSettings::new(php_command("php", Path::new("none.php")), dir.path());
        let error = check(&settings).await.unwrap_err();
        assert!(!error.permanent, "it may appear");
        assert!(error.message.contains(&*dir.path().join("none.php").to_string_lossy()), "{error}");
    }

    #[tokio::test]
    async fn a_php_that_is_too_old_is_refused_by_its_version() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let php = dir.path().join("php");
        std::fs::write(&php, "#!/bin/sh\necho 7.4.33\n").unwrap();
        std::fs::set_permissions(&php, PermissionsExt::from_mode(0o755)).unwrap();
        let settings = ProcessSettings::new(command(&["./php"]), dir.path());
        let error = check(&settings).await.unwrap_err();
        assert!(error.message.contains("PHP 7.4.33 at"), "{error}");
        assert!(error.message.contains("8.1 or newer"), "{error}");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_not_mistaken_for_a_missing_php() {
        let settings = ProcessSettings::new(command(&["php"]), "/nowhere/at/all");
        let error = check(&settings).await.unwrap_err();
        assert!(error.message.contains("/nowhere/at/all does not exist"), "{error}");
    }
}
