//! The checks that the server's parts registered.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use folk_api::health::{Health, HealthCheck, HealthRegistry};

/// All checks of the server.
#[derive(Default)]
pub struct Checks(Mutex<BTreeMap<String, HealthCheck>>);

impl Checks {
    /// How every part is. A check that panics counts as unready.
    pub fn run(&self) -> BTreeMap<String, Health> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let run = |check: HealthCheck| {
            std::panic::catch_unwind(AssertUnwindSafe(|| check()))
                .unwrap_or_else(|_| Health::unready("its check panicked"))
        };
        checks.into_iter().map(|(name, check)| (name, run(check))).collect()
    }
}

impl HealthRegistry for Checks {
    fn register(&self, name: &str, check: HealthCheck) -> anyhow::Result<()> {
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(!checks.contains_key(name), "health check {name} is registered already");
        checks.insert(name.to_owned(), check);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_check_that_panics_counts_as_unready_and_hides_no_other() {
        let checks = Checks::default();
        checks.register("good", Arc::new(Health::ready)).unwrap();
        checks.register("bad", Arc::new(|| panic!("boom"))).unwrap();
        let health = checks.run();
        assert!(health["good"].ready);
        assert!(!health["bad"].ready);
        assert!(checks.register("good", Arc::new(Health::ready)).is_err());
    }
}
