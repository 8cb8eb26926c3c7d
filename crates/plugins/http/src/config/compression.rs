//! The `compression` key: a switch or a table.

use std::fmt;

use folk_api::units::ByteSize;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Whether and how answers are compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionConfig {
    /// Whether at all. Default `false` without the key, `true` with a table.
    pub enabled: bool,
    /// The smallest body that is compressed, where its size is known before. Default `"1KiB"`:
    /// below it the answer fits one packet anyway.
    pub min_size: ByteSize,
    /// What may be used, the best liked first. Default `["zstd", "br", "gzip"]`.
    pub algorithms: Vec<Algorithm>,
}

/// How a body can be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Zstandard: small and fast.
    Zstd,
    /// Brotli: smallest, slower.
    Br,
    /// Gzip: every client has it.
    Gzip,
}

impl Default for CompressionConfig {
    fn default() -> Self {
        let Table { min_size, algorithms, .. } = Table::default();
        Self { enabled: false, min_size, algorithms }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    enabled: bool,
    min_size: ByteSize,
    #[serde(deserialize_with = "some_algorithm")]
    algorithms: Vec<Algorithm>,
}

impl Default for Table {
    fn default() -> Self {
        let algorithms = vec![Algorithm::Zstd, Algorithm::Br, Algorithm::Gzip];
        Self { enabled: true, min_size: ByteSize(1 << 10), algorithms }
    }
}

impl From<Table> for CompressionConfig {
    fn from(Table { enabled, min_size, algorithms }: Table) -> Self {
        Self { enabled, min_size, algorithms }
    }
}

fn some_algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Algorithm>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(D::Error::custom("is empty; to compress nothing, write enabled = false"));
    }
    Ok(list)
}

impl<'de> Deserialize<'de> for CompressionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SwitchOrTable;

        impl<'de> Visitor<'de> for SwitchOrTable {
            type Value = CompressionConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a table")
            }

            fn visit_bool<E: Error>(self, enabled: bool) -> Result<Self::Value, E> {
                Ok(CompressionConfig { enabled, ..CompressionConfig::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
            }
        }

        deserializer.deserialize_any(SwitchOrTable)
    }
}
