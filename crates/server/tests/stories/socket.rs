//! Places to listen at that cannot be had.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::support::Project;

/// Something it needs is not to be had: `exit_code.rs`.
const UNAVAILABLE: Option<i32> = Some(69);

const HANDLER: &str = "return Folk\\Rpc::fromEnvironment()->call('rpc.Version');";

#[test]
fn a_port_in_use_is_told_with_its_cure_before_any_worker_boots() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let project = Project::running("touch('booted');");
    let ended = project.fail_to_serve(&[&format!("http.listen={address}")]);
    assert_eq!(ended.code, UNAVAILABLE, "{}", ended.log);
    let cure =
        format!("address {address} is in use; stop the other server or pass -o http.listen=");
    assert!(ended.error().contains(&cure), "{}", ended.log);
    assert!(!project.path("booted").exists());
    assert!(project.is_tidy());
}

#[test]
fn an_address_of_another_machine_is_told() {
    let project = Project::serving(HANDLER);
    let ended = project.fail_to_serve(&["http.listen=192.0.2.1:8080"]);
    assert_eq!(ended.code, UNAVAILABLE, "{}", ended.log);
    assert!(ended.error().contains("192.0.2.1:8080 is none of this machine"), "{}", ended.log);
}

#[test]
fn a_port_is_free_again_as_soon_as_the_server_has_ended() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    let listen = format!("http.listen={}", folk.address());
    assert_eq!(folk.get("/").status, 200);
    assert_eq!(folk.stop().code, Some(0));
    assert_eq!(project.serve(&[&listen]).get("/").status, 200);
}

#[test]
fn a_directory_that_cannot_hold_the_rpc_socket_is_named() {
    let project = Project::serving(HANDLER);
    // Not even root may write there.
    let ended = project.fail_to_serve(&["server.rpc=/proc/folk/rpc.sock"]);
    assert_eq!(ended.code, UNAVAILABLE, "{}", ended.log);
    assert!(ended.error().contains("/proc/folk/rpc.sock"), "{}", ended.log);

    project.write("var", "a file where a directory belongs");
    let ended = project.fail_to_serve(&[]);
    assert_eq!(ended.code, UNAVAILABLE, "{}", ended.log);
    assert!(ended.error().contains("var/rpc.sock"), "{}", ended.log);
}

#[test]
fn a_file_in_the_place_of_the_rpc_socket_is_kept() {
    let project = Project::serving(HANDLER);
    project.write("precious.sock", "precious");
    let ended = project.fail_to_serve(&["server.rpc=precious.sock"]);
    assert_eq!(ended.code, UNAVAILABLE, "{}", ended.log);
    assert!(ended.error().contains("precious.sock is in the way"), "{}", ended.log);
    assert_eq!(std::fs::read_to_string(project.path("precious.sock")).unwrap(), "precious");
}

#[test]
fn the_rpc_socket_of_a_live_server_is_not_taken_from_it() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    let ended = project.fail_to_serve(&[]);
    assert_eq!(ended.code, UNAVAILABLE, "{}", ended.log);
    assert!(ended.error().contains("another server answers on"), "{}", ended.log);
    assert_eq!(folk.get("/").body(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_rpc_socket_that_a_dead_server_left_is_replaced() {
    let project = Project::serving(HANDLER);
    std::fs::create_dir(project.path("var")).unwrap();
    drop(UnixListener::bind(project.path("var/rpc.sock")).unwrap());
    let mut folk = project.serve(&[]);
    assert_eq!(folk.get("/").body(), env!("CARGO_PKG_VERSION"));
    folk.kill().unwrap();
    drop(folk);
    assert!(project.path("var/rpc.sock").exists());
    assert_eq!(project.serve(&[]).get("/").body(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_rpc_socket_is_for_the_user_of_the_server_alone() {
    let project = Project::serving(HANDLER);
    let _folk = project.serve(&[]);
    let mode = std::fs::metadata(project.path("var/rpc.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_sockets_of_workers_are_gone_once_they_are_connected() {
    let project = Project::serving(HANDLER);
    let folk = project.serve(&[]);
    folk.wait_for_workers(2);
    folk.log.wait_for_nth("a worker is ready", 2);
    assert_eq!(folk.get("/").status, 200);
    assert!(project.temporary_sockets().is_empty(), "{:?}", project.temporary_sockets());
}
