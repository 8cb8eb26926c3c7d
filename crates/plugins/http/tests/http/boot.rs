//! Starting up: what can be wrong, and what is said then.

use folk_api::Response;
use folk_plugin_http::HttpPlugin;
use serde_json::json;

use crate::support::{Server, boot};

async fn refused(config: serde_json::Value) -> String {
    match boot(HttpPlugin::new(), config, |_| async { Ok(Response::ok("")) }).await {
        Ok(_) => panic!("it booted"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_with_what_to_type() {
    let first = Server::hello(json!({})).await;
    let address = first.address.to_string();
    assert_eq!(
        refused(json!({ "listen": address })).await,
        format!(
            "address {address} is in use; stop the other server or pass -o http.listen=127.0.0.1:PORT"
        )
    );
}

#[tokio::test]
async fn a_root_that_is_no_directory_is_named() {
    let missing = refused(json!({ "root": "no-such-directory-here" })).await;
    assert!(missing.contains("cannot use http.root") && missing.contains("no-such"), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let not_one = refused(json!({ "root": file.path() })).await;
    assert!(not_one.contains("is not a directory"), "{not_one}");
}

#[tokio::test]
async fn listens_on_every_address_of_a_list() {
    let config = json!({ "listen": ["127.0.0.1:0", "127.0.0.1:0"] });
    let (plugin, _) =
        boot(HttpPlugin::new(), config, |_| async { Ok(Response::ok("")) }).await.unwrap();
    assert_eq!(plugin.local_addrs().len(), 2);
    assert_ne!(plugin.local_addrs()[0], plugin.local_addrs()[1]);
}
