//! Arrays of any length in serde, which knows them up to 32 elements.

use arrayvec::ArrayVec;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

pub(super) fn serialize<S: Serializer, T: Serialize, const N: usize>(
    array: &[T; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    array.as_slice().serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(
    deserializer: D,
) -> Result<[T; N], D::Error> {
    let elements = ArrayVec::deserialize(deserializer)?;
    elements.into_inner().map_err(|short: ArrayVec<T, N>| Error::invalid_length(short.len(), &"as many as there are"))
}
