//! Small values of a collection in the catalog, which may lose them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Collection;
use crate::error::Error;

impl Collection {
    /// A value, if it is there and is what it should be.
    pub(crate) fn catalog_get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let value = self.shared.store.catalog()?.get(self.name(), key);
        Ok(value.and_then(|value| serde_json::from_value(value).ok()))
    }

    pub(crate) fn catalog_put<T: Serialize>(&self, key: &str, value: &T) -> Result<(), Error> {
        match serde_json::to_value(value) {
            Ok(value) => Ok(self.shared.store.catalog()?.put(self.name(), key, &value)?),
            // What cannot be kept is not missed: the catalog may lose it anyway.
            Err(_) => Ok(()),
        }
    }
}
